// SPDX-License-Identifier: GPL-2.0

//! The only ways for text to enter the page.

use crate::text::visible;

/// Text between tags, or between the quotes of an attribute.
pub fn text(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// A path below the page's directory, as the value of `href`; never an address of something else.
pub fn link(base: &str, path: &str) -> String {
    let mut href = String::from("./");
    for byte in base.bytes().chain(path.bytes()) {
        match byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'=' | b'+' | b',')
        {
            true => href.push(char::from(byte)),
            false => href.push_str(&format!("%{byte:02X}")),
        }
    }
    href
}

/// Text with a link on it, where the address is one of the web.
pub fn web(address: &str) -> String {
    let shown = text(address);
    match address.starts_with("https://") || address.starts_with("http://") {
        true => format!("<a href=\"{shown}\" rel=\"noreferrer\">{shown}</a>"),
        false => format!("<code>{shown}</code>"),
    }
}

/// Fills the places `{{name}}` of a template, in one pass: what is filled in is not looked at again.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut html = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        html.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        html.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    html + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        assert_eq!(
            text("<a b=\"c\" d='e'>&\x1b"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{241b}"
        );
    }

    #[test]
    fn links_stay_in_their_directory_tree() {
        assert_eq!(link("", "tests/a=2F/full"), "./tests/a=2F/full");
        assert_eq!(link("../x/", "a b?#%"), "./../x/a%20b%3F%23%25");
        assert_eq!(
            link("", "javascript:alert(1)"),
            "./javascript%3Aalert%281%29"
        );
        assert!(web("https://a/?\"").starts_with("<a href=\"https://a/?&quot;\""));
        assert_eq!(web("javascript:1"), "<code>javascript:1</code>");
    }

    #[test]
    fn a_template_is_filled_once() {
        let filled = fill("a{{x}}b{{y}}{{z}}", &[("x", "{{y}}"), ("y", "1")]);
        assert_eq!(filled, "a{{y}}b1");
    }
}
