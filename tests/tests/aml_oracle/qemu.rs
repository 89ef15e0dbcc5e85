//! The tables that QEMU's firmware finds: a machine without a kernel is started, and its memory searched.
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The top of 512 MiB, where SeaBIOS puts the tables.
const SEARCHED: u64 = 1 << 20;
const MEMORY: u64 = 512 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A QEMU that goes with the test.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The DSDT and then the SSDTs, with valid checksums.
pub fn capture(machine: &str, slots: usize) -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let (socket, dump) = (directory.path().join("qmp"), directory.path().join("memory"));
    let child = Command::new("qemu-system-x86_64")
        .args([
            "-machine", machine, "-accel", "tcg", "-display", "none", "-serial", "none", "-monitor", "none",
        ])
        .args(["-m", &format!("512M,slots={slots},maxmem=64G")])
        .args(["-object", "memory-backend-ram,id=m0,size=512M"])
        .args(["-numa", "node,nodeid=0,memdev=m0", "-numa", "node,nodeid=1"])
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(Stdio::null())
        .spawn()
        .expect("qemu-system-x86_64");
    let _machine = Machine(child);
    let started = Instant::now();
    let stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(started.elapsed() < PATIENCE, "no monitor: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut reader = BufReader::new(stream);
    answer(&mut reader);
    command(&mut reader, json!({ "execute": "qmp_capabilities" }));
    loop {
        let save = json!({ "val": MEMORY - SEARCHED, "size": SEARCHED, "filename": dump });
        command(&mut reader, json!({ "execute": "pmemsave", "arguments": save }));
        let tables = tables_in(&dump);
        if !tables.is_empty() {
            return tables;
        }
        assert!(started.elapsed() < PATIENCE, "the firmware made no tables");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn command(reader: &mut BufReader<UnixStream>, command: Value) {
    writeln!(reader.get_mut(), "{command}").expect("the monitor listens");
    loop {
        let line = answer(reader);
        assert!(line.get("error").is_none(), "{command}: {line}");
        if line.get("return").is_some() {
            return;
        }
    }
}

fn answer(reader: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the monitor answers");
    serde_json::from_str(&line).expect("JSON")
}

fn tables_in(dump: &Path) -> Vec<Vec<u8>> {
    let memory = std::fs::read(dump).expect("the dump");
    let mut tables = Vec::new();
    for signature in [b"DSDT", b"SSDT"] {
        for at in (0..memory.len()).step_by(4) {
            let Some(rest) = memory.get(at..).filter(|rest| rest.starts_with(signature)) else { continue };
            let length =
                rest.get(4..8).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("four")));
            if let Some(table) = rest.get(..length as usize).filter(|table| table.len() > 36)
                && table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
            {
                tables.push(table.to_vec());
            }
        }
    }
    tables
}
