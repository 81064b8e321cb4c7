// SPDX-License-Identifier: GPL-2.0
//! The virtio-serial port to the host: one JSON value per line, both ways.

use anyhow::{bail, Context, Result};
use notblk_protocol::{Event, Job, PORT, VERSION};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The port. Clones share it; a line is written whole.
#[derive(Clone)]
pub struct Host {
    port: Arc<Mutex<File>>,
}

impl Host {
    /// Finds the port by its name and opens it.
    pub fn open() -> Result<Host> {
        // The driver is built in, but its probe may still be under way when PID 1 starts.
        let until = Instant::now() + Duration::from_secs(10);
        let device = loop {
            if let Some(device) = find()? {
                break device;
            }
            if Instant::now() > until {
                bail!("no virtio-serial port is named {PORT}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let port = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&device)
            .with_context(|| format!("open {device}"))?;
        Ok(Host {
            port: Arc::new(Mutex::new(port)),
        })
    }

    /// One that writes to this.
    #[cfg(test)]
    pub fn to(file: File) -> Host {
        Host {
            port: Arc::new(Mutex::new(file)),
        }
    }

    /// Says that the guest is ready, and reads the job.
    pub fn ask(&self, kernel: &str) -> Result<Job> {
        self.send(&Event::Ready {
            version: VERSION,
            kernel: kernel.to_owned(),
        })?;
        let mut line = String::new();
        BufReader::new(self.lock().try_clone()?)
            .read_line(&mut line)
            .context("read the job")?;
        serde_json::from_str(&line).with_context(|| format!("not a job: {line:?}"))
    }

    /// Sends one event.
    pub fn send(&self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.lock().write_all(&line).context("write to the host")
    }

    /// A step begins; the host gives it `limit_secs` of silence at most.
    pub fn step(&self, name: &str, limit_secs: u64) -> Result<()> {
        self.send(&Event::Step {
            name: name.to_owned(),
            limit_secs,
        })
    }

    /// How far the step is.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        self.send(&Event::Progress { done, total })
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        // A thread that panicked while it wrote has left half a line at worst, and the panic has
        // ended the process by then.
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device node of the port, once the kernel has announced it.
fn find() -> Result<Option<String>> {
    let Ok(ports) = fs::read_dir("/sys/class/virtio-ports") else {
        return Ok(None);
    };
    for port in ports {
        let port = port?;
        let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
        if name.trim_end() == PORT {
            return Ok(Some(format!("/dev/{}", port.file_name().to_string_lossy())));
        }
    }
    Ok(None)
}
