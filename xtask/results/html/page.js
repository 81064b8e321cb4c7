"use strict";
// Filters, sorts and copies; the page can be read without it.
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const words = (text) => (text ? text.split(" ") : []);
  const gravity = ["hang", "splat", "died", "fail", "skip", "excluded", "pass", "none"];

  const list = byId("list");
  const groups = all(".group").map((section) => ({ section, number: section.querySelector(".n") }));
  const rows = all(".row").map((element, order) => ({
    element,
    order,
    group: element.parentElement,
    name: element.id,
    statuses: words(element.dataset.status),
    times: words(element.dataset.time).map(Number),
    classes: words(element.dataset.class),
    flags: words(element.dataset.flag),
    text: element.querySelector("summary").textContent.toLowerCase(),
  }));
  const state = { text: "", column: "", sort: "", of: "", statuses: new Set(), classes: new Set(), flags: new Set() };

  const meets = (wanted, has) => wanted.size === 0 || has.some((one) => wanted.has(one));

  function fits(row) {
    const statuses = state.column === "" ? row.statuses : [row.statuses[state.column]];
    return state.text.split(/\s+/).every((word) => row.text.includes(word))
      && (state.column === "" || statuses[0] !== "none")
      && meets(state.statuses, statuses) && meets(state.classes, row.classes) && meets(state.flags, row.flags);
  }

  function filter() {
    let shown = 0;
    const inGroup = new Map();
    for (const row of rows) {
      const fit = fits(row);
      row.element.hidden = !fit;
      if (fit) {
        shown += 1;
        inGroup.set(row.group, (inGroup.get(row.group) || 0) + 1);
      }
    }
    for (const { section, number } of groups) {
      const count = inGroup.get(section) || 0;
      const total = number.dataset.total || (number.dataset.total = number.textContent);
      section.hidden = state.sort !== "" || count === 0;
      number.textContent = String(count) === total ? total : `${count} of ${total}`;
    }
    // What is shown begins below the filters, wherever the reader was in what was shown before.
    const results = byId("results");
    if (results.getBoundingClientRect().top < byId("tests").offsetHeight - 1) results.scrollIntoView();
    byId("shown").value = `${shown} of ${rows.length}`;
    byId("nothing").hidden = shown > 0;
    byId("reset").disabled = shown === rows.length && state.sort === "" && state.column === "" && state.text === ""
      && !state.statuses.size && !state.classes.size && !state.flags.size;
    press();
  }

  // Shows in every button what is chosen, however it was.
  function press() {
    const set = (element, on) => element.setAttribute("aria-pressed", String(on));
    for (const b of all("[data-toggle]")) set(b, state.statuses.has(b.dataset.toggle));
    for (const b of all("button[data-flag]")) set(b, state.flags.has(b.dataset.flag));
    for (const b of all("a[data-class]")) set(b, state.classes.has(b.dataset.class));
    for (const b of all("a[data-column]")) {
      set(b, state.column === b.dataset.column && state.statuses.size === 1 && state.statuses.has(b.dataset.status));
    }
    for (const b of all("[data-sort]")) set(b, state.sort === b.dataset.sort && state.of === (b.dataset.of || ""));
    byId("column").value = state.column;
    byId("sort").value = state.sort;
  }

  const statusKey = (row) => {
    const of = state.of === "" ? row.statuses : [row.statuses[state.of]];
    return Math.min(...of.map((status) => gravity.indexOf(status)));
  };
  const timeKey = (row) => -(state.of === "" ? Math.max(...row.times) : row.times[state.of]);

  function sort() {
    const compare = {
      "": (a, b) => a.order - b.order,
      name: (a, b) => (a.name < b.name ? -1 : 1),
      status: (a, b) => statusKey(a) - statusKey(b) || a.order - b.order,
      time: (a, b) => timeKey(a) - timeKey(b) || a.order - b.order,
    }[state.sort];
    for (const row of [...rows].sort(compare)) {
      (state.sort === "" ? row.group : list).append(row.element);
    }
    filter();
  }

  function toggle(set, value) {
    if (!set.delete(value)) set.add(value);
  }

  function copy(button) {
    const code = button.parentElement.querySelector("code");
    const done = (word) => {
      button.textContent = word;
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    };
    const select = () => {
      getSelection().selectAllChildren(code);
      done(document.execCommand("copy") ? "copied" : "selected");
    };
    // A page opened from a file may not have the clipboard.
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(() => done("copied"), select);
    else select();
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, a[data-class], a[data-column]");
    if (!target) return;
    const data = target.dataset;
    if (target.matches(".copy")) return copy(target);
    if (target.tagName === "A") event.preventDefault();
    if (data.toggle) toggle(state.statuses, data.toggle);
    else if (target.tagName === "BUTTON" && data.flag) toggle(state.flags, data.flag);
    else if (data.class) toggle(state.classes, data.class);
    else if (data.column) {
      const again = target.getAttribute("aria-pressed") === "true";
      state.column = again ? "" : data.column;
      state.statuses = new Set(again ? [] : [data.status]);
    } else if (data.sort) {
      const again = target.getAttribute("aria-pressed") === "true";
      state.sort = again ? "" : data.sort;
      state.of = again ? "" : data.of || "";
      return sort();
    } else if (target.id === "reset") {
      Object.assign(state, { text: "", column: "", sort: "", of: "" });
      for (const set of [state.statuses, state.classes, state.flags]) set.clear();
      byId("text").value = "";
      return sort();
    } else return;
    filter();
  });

  byId("text").addEventListener("input", (event) => {
    state.text = event.target.value.trim().toLowerCase();
    filter();
  });
  byId("column").addEventListener("change", (event) => {
    state.column = event.target.value;
    filter();
  });
  byId("sort").addEventListener("change", (event) => {
    state.sort = event.target.value;
    state.of = state.sort === "" || state.sort === "name" ? "" : state.column;
    sort();
  });

  // Chips that are links without this script are buttons with it.
  for (const chip of all("a[data-class], a[data-column]")) {
    chip.setAttribute("role", "button");
    chip.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      chip.click();
    });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      byId("text").focus();
    } else if (event.key === "j" || event.key === "k") {
      const lines = all(".row:not([hidden]) > summary").filter((line) => line.offsetParent);
      const at = lines.indexOf(document.activeElement);
      const next = event.key === "j" ? at + 1 : Math.max(at - 1, 0);
      if (lines[next]) lines[next].focus();
    }
  });

  // An open test is in the address, so that it can be passed on.
  list.addEventListener("toggle", (event) => {
    if (event.target.matches(".row") && event.target.open) {
      try { history.replaceState(null, "", `#${event.target.id}`); } catch { /* not from where this page is */ }
    }
  }, true);
  function follow() {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches(".row")) {
      target.open = true;
      target.scrollIntoView();
    }
  }
  // What is scrolled to must not end up below the filters, whose height depends on the window's width.
  new ResizeObserver(([filters]) => {
    document.documentElement.style.setProperty("--top", `${filters.target.offsetHeight}px`);
  }).observe(document.querySelector(".sticky"));
  addEventListener("hashchange", follow);
  follow();
  press();
})();
