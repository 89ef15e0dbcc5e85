//! Finding the guests that `cargo xtask run` has started: each listens for QMP on one socket, and has its second serial
//! port on another.
//!
//! ```text
//! $XDG_RUNTIME_DIR/carapace/PID.qmp      or, without that directory,      /tmp/carapace-UID/PID.qmp
//!                           PID.remote                                                      PID.remote
//!                           PID.line, PID.desk, PID.monitor: between QEMU and its xtask alone
//! ```
//!
//! Only the owner has access to the directory: a writer of a QMP socket has all of QEMU's rights. If the xtask of a guest
//! was killed, its socket has no listener; the next search removes it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result, bail, ensure};
use qapi::qmp::query_chardev;

use crate::qmp::Monitor;

const ENDING: &str = "qmp";
/// The ending of QEMU's end of the second serial port, whose only client is `relay`.
const LINE: &str = "line";
/// The endings of the other sockets between QEMU and its xtask.
const OWN: [&str; 3] = [LINE, "desk", "monitor"];
/// QEMU's name for what the second serial port is connected to, and the ending of that socket.
pub const REMOTE: &str = "remote";

/// Places for this process's guest to listen at; the sockets are removed when this is dropped.
#[derive(Debug)]
pub struct Listening {
    /// Without an ending.
    base: PathBuf,
}

impl Listening {
    /// The places, and the directory for them.
    ///
    /// # Errors
    /// The directory cannot be made, or belongs to another user.
    pub fn new() -> Result<Self> {
        Self::in_directory(&directory())
    }

    fn in_directory(directory: &Path) -> Result<Self> {
        let made = DirBuilder::new().mode(0o700).create(directory);
        if let Err(error) = made
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("cannot make {}", directory.display()));
        }
        let about = fs::symlink_metadata(directory)?;
        let ours = about.is_dir() && about.uid() == rustix::process::geteuid().as_raw();
        ensure!(ours && about.mode() & 0o077 == 0, "{} is not this user's alone", directory.display());
        let listening = Self { base: directory.join(process::id().to_string()) };
        // Left by a process of this number that was killed.
        listening.remove();
        Ok(listening)
    }

    /// The socket for QMP.
    pub fn qmp(&self) -> PathBuf {
        self.base.with_extension(ENDING)
    }

    /// The socket on which programs find the guest's second serial port.
    pub fn remote(&self) -> PathBuf {
        self.base.with_extension(REMOTE)
    }

    /// QEMU's end of the second serial port.
    pub fn line(&self) -> PathBuf {
        self.base.with_extension(LINE)
    }

    /// Another socket for QMP, for what the guest asks for.
    pub fn desk(&self) -> PathBuf {
        self.base.with_extension(OWN[1])
    }

    /// QEMU's monitor for the user's terminal.
    pub fn monitor(&self) -> PathBuf {
        self.base.with_extension(OWN[2])
    }

    fn remove(&self) {
        // QEMU removes its own when it ends well.
        for ending in [ENDING, REMOTE].into_iter().chain(OWN) {
            let _ = fs::remove_file(self.base.with_extension(ending));
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.remove();
    }
}

fn directory() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_dir()) {
        Some(runtime) => runtime.join("carapace"),
        None => env::temp_dir().join(format!("carapace-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Connects to the socket at `path`.
///
/// # Errors
/// The socket has no listener.
pub fn connect(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).with_context(|| format!("no listener at {}", path.display()))
}

/// The QMP socket at `path`, or, without one, that of the only guest that runs.
///
/// # Errors
/// No guest runs; several do, and their sockets are named.
pub fn find(path: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    let mut found = listening();
    let names: Vec<String> = found.iter().map(|path| format!("    {}", path.display())).collect();
    match (found.pop(), names.len()) {
        (Some(path), 1) => Ok(path),
        (None, _) => bail!("no guest runs; start one by `cargo xtask run`, on another terminal"),
        _ => bail!("several guests run; say which one by --qmp, with one of\n{}", names.join("\n")),
    }
}

/// How many guests run.
pub fn running() -> usize {
    listening().len()
}

/// The sockets of all guests that listen.
fn listening() -> Vec<PathBuf> {
    listening_in(&directory())
}

fn listening_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        match UnixStream::connect(&path) {
            Ok(_) => found.push(path),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                drop(fs::remove_file(&path));
                for ending in [REMOTE].into_iter().chain(OWN) {
                    drop(fs::remove_file(path.with_extension(ending)));
                }
            }
            Err(_) => {}
        }
    }
    found
}

/// The socket of the second serial port of the guest whose QMP socket is at `qmp`; `None` if it has no such port.
///
/// # Errors
/// QEMU has to be asked, and does not answer.
pub fn second_port(qmp: &Path) -> Result<Option<PathBuf>> {
    // Guests of `cargo xtask run` have it beside the QMP socket; other guests are asked by QMP.
    let beside = qmp.with_extension(REMOTE);
    if qmp.extension().is_some_and(|ending| ending == ENDING) && beside.exists() {
        return Ok(Some(beside));
    }
    let devices = Monitor::new(connect(qmp)?)?.execute(&query_chardev {})?;
    let socket = devices.iter().find(|device| device.label == REMOTE);
    Ok(socket.and_then(|device| socket_of(&device.filename)).map(|socket| {
        // QEMU's own end has a client already, which lets others in beside it.
        let beside = socket.with_extension(REMOTE);
        if socket.extension().is_some_and(|ending| ending == LINE) && beside.exists() {
            beside
        } else {
            socket
        }
    }))
}

/// The path in what QEMU says of a listening socket: `disconnected:unix:/run/1.remote,server=on`.
fn socket_of(filename: &str) -> Option<PathBuf> {
    let (_, path) = filename.split_once("unix:")?;
    let path = path.split_once(",server").map_or(path, |(path, _)| path);
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Proves that sockets are made only in a directory without access for other users, new or existing. Fails if a
    /// directory of another user, or with access for others, is accepted: a writer there has all of QEMU's rights.
    #[test]
    fn the_directory_is_its_owners_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let mine = place.path().join("mine");
        assert!(Listening::in_directory(&mine).is_ok());
        assert_eq!(fs::metadata(&mine).expect("it was made").mode() & 0o777, 0o700);
        assert!(Listening::in_directory(&mine).is_ok(), "a second time");
        for mode in [0o710, 0o702, 0o755] {
            fs::set_permissions(&mine, Permissions::from_mode(mode)).expect("mode");
            let refused = Listening::in_directory(&mine).expect_err("others may enter").to_string();
            assert!(refused.ends_with("is not this user's alone"), "{refused}");
        }
        let link = place.path().join("link");
        fs::set_permissions(&mine, Permissions::from_mode(0o700)).expect("mode");
        std::os::unix::fs::symlink(&mine, &link).expect("a link");
        assert!(Listening::in_directory(&link).is_err(), "a link may lead elsewhere tomorrow");
    }

    /// Proves that guests that listen are found, that the sockets of one that is gone are removed with its second
    /// port's, and that other files are left alone.
    #[test]
    fn dead_guests_are_cleared_away() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let _lives = UnixListener::bind(at("1.qmp")).expect("a socket");
        for dead in ["2.qmp", "2.remote"] {
            drop(UnixListener::bind(at(dead)).expect("a socket"));
        }
        fs::write(at("notes"), "mine").expect("a file");
        assert_eq!(listening_in(place.path()), [at("1.qmp")]);
        let left = ["1.qmp", "2.qmp", "2.remote", "notes"].map(|name| at(name).exists());
        assert_eq!(left, [true, false, false, true]);
        assert!(listening_in(&at("nowhere")).is_empty());
    }

    /// QEMU's words for the socket, without and with a client (QEMU 7.2).
    #[test]
    fn second_port_by_its_name() {
        let path = Some(PathBuf::from("/run/u/1.remote"));
        assert_eq!(socket_of("disconnected:unix:/run/u/1.remote,server=on"), path);
        assert_eq!(socket_of("unix:/run/u/1.remote,server=on"), path);
        assert_eq!(socket_of("stdio"), None);
    }
}
