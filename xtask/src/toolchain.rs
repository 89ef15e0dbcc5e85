//! Which Rust toolchain can build for `x86_64-unknown-none`, and how.
//!
//! In this order: the toolchain in use with the target's precompiled library; the same one with the library's
//! source, which cargo then builds along; Debian's toolchain in `/usr`, in the second way. What rustup says it
//! has is not trusted, the files are looked at.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that boot shim and kernel are built for.
pub const TARGET: &str = "x86_64-unknown-none";

/// Whose compiler is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The first on PATH, which is also the one that built this program.
    Path,
    /// The distribution's, in `/usr/bin`.
    System,
}

/// The source of the target's library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// It lies precompiled in the toolchain.
    Precompiled,
    /// Cargo builds it from the toolchain's copy of its source.
    FromSource,
}

/// A toolchain that can build for bare metal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Whose it is.
    pub origin: Origin,
    /// How it comes by the library.
    pub library: Library,
    /// What `rustc --version` says.
    pub version: String,
    /// Its root.
    pub sysroot: PathBuf,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.library {
            Library::Precompiled => "precompiled library",
            Library::FromSource => "library built from source",
        };
        write!(f, "{} in {}, {how}", self.version, self.sysroot.display())
    }
}

/// What a compiler says about itself.
#[derive(Clone, Debug)]
pub struct Rustc {
    /// `rustc --version`.
    pub version: String,
    /// `rustc --print sysroot`.
    pub sysroot: PathBuf,
    /// `rustc --print target-libdir` for the bare-metal target.
    pub target_libdir: PathBuf,
}

/// The machine as far as the choice depends on it.
pub trait Probe {
    /// What this compiler says, if there is one that runs.
    fn rustc(&self, origin: Origin) -> Option<Rustc>;
    /// The names of the files in a directory; none if there is no such directory.
    fn names(&self, dir: &Path) -> Vec<String>;
    /// Whether a file is there.
    fn is_file(&self, path: &Path) -> bool;
    /// Whether PATH (or only `/usr/bin` and `/bin` for the system's toolchain) leads to this program.
    fn has_program(&self, origin: Origin, name: &str) -> bool;
}

/// What a toolchain is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To build for [`TARGET`], in whichever way.
    Target,
    /// To build for other bare-metal targets too: with the library's source.
    Source,
}

/// The first toolchain in the order above that can do it, or why each cannot.
pub fn choose(probe: &impl Probe, wanted: Wanted) -> Result<Toolchain, Vec<String>> {
    let mut refusals = Vec::new();
    for origin in [Origin::Path, Origin::System] {
        match examine(probe, origin, wanted) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => refusals.push(reason),
        }
    }
    Err(refusals)
}

fn examine(probe: &impl Probe, origin: Origin, wanted: Wanted) -> Result<Toolchain, String> {
    let place = match origin {
        Origin::Path => "on PATH",
        Origin::System => "in /usr/bin",
    };
    let rustc = probe.rustc(origin).ok_or_else(|| format!("no rustc {place}"))?;
    let refuse = |what: &str| Err(format!("{} ({}): {what}", rustc.version, rustc.sysroot.display()));
    let toolchain = |library| Toolchain {
        origin,
        library,
        version: rustc.version.clone(),
        sysroot: rustc.sysroot.clone(),
    };
    let precompiled = |name: &String| name.starts_with("libcore-") && name.ends_with(".rlib");
    if origin == Origin::Path
        && wanted == Wanted::Target
        && probe.names(&rustc.target_libdir).iter().any(precompiled)
    {
        return Ok(toolchain(Library::Precompiled));
    }
    let source = rustc.sysroot.join("lib/rustlib/src/rust/library");
    if !probe.is_file(&source.join("core/Cargo.toml")) || !probe.is_file(&source.join("Cargo.lock")) {
        return refuse(&match wanted {
            Wanted::Target => format!("neither the target {TARGET} nor the library's source"),
            Wanted::Source => "no source of the library".into(),
        });
    }
    if !probe.has_program(origin, "cargo") {
        return refuse(&format!("no cargo {place}"));
    }
    let own_linker = probe
        .names(&rustc.sysroot.join("lib/rustlib"))
        .iter()
        .any(|host| probe.is_file(&rustc.sysroot.join("lib/rustlib").join(host).join("bin/rust-lld")));
    if !own_linker && !probe.has_program(origin, "rust-lld") {
        return refuse("no rust-lld, the linker for bare metal");
    }
    Ok(toolchain(Library::FromSource))
}

/// The machine this program runs on, seen from a directory (rustup chooses a toolchain by directory).
#[derive(Clone, Copy, Debug)]
pub struct ThisMachine<'a>(pub &'a Path);

/// The PATH of the distribution's own programs only.
pub const SYSTEM_PATH: &str = "/usr/bin:/bin";

impl Probe for ThisMachine<'_> {
    fn rustc(&self, origin: Origin) -> Option<Rustc> {
        let ask = |arguments: &[&str]| {
            let mut command = match origin {
                Origin::Path => Command::new("rustc"),
                Origin::System => system_command("rustc"),
            };
            let output = command.args(arguments).current_dir(self.0).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then_some(text)
        };
        let version = ask(&["--version"])?.trim().to_owned();
        let places = ask(&["--print", "sysroot", "--print", "target-libdir", "--target", TARGET])?;
        let mut places = places.lines().map(PathBuf::from);
        Some(Rustc { version, sysroot: places.next()?, target_libdir: places.next()? })
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn has_program(&self, origin: Origin, name: &str) -> bool {
        match origin {
            Origin::Path => which::which(name).is_ok(),
            Origin::System => {
                which::which_in_global(name, Some(SYSTEM_PATH)).is_ok_and(|mut all| all.next().is_some())
            }
        }
    }
}

/// A command of the system's toolchain: nothing that rustup or an outer cargo put into the environment may
/// send it to another one.
pub fn system_command(program: &str) -> Command {
    let mut command = Command::new(Path::new("/usr/bin").join(program));
    command.env("PATH", SYSTEM_PATH);
    for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "CARGO", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A machine made of a list of files; programs are files in `path/` or `/usr/bin/`.
    struct Fake(HashSet<&'static str>);

    impl Fake {
        fn with(files: &[&[&'static str]]) -> Self {
            Self(files.iter().flat_map(|group| group.iter().copied()).collect())
        }
    }

    impl Probe for Fake {
        fn rustc(&self, origin: Origin) -> Option<Rustc> {
            let (version, sysroot) = match origin {
                Origin::Path => ("rustc 1.95.0", "/rustup"),
                Origin::System => ("rustc 1.96.0", "/usr"),
            };
            let target_libdir = Path::new(sysroot).join("lib/rustlib/x86_64-unknown-none/lib");
            self.has_program(origin, "rustc").then(|| Rustc {
                version: version.into(),
                sysroot: sysroot.into(),
                target_libdir,
            })
        }
        fn names(&self, dir: &Path) -> Vec<String> {
            let below = |file: &&str| Path::new(file).strip_prefix(dir).ok().map(Path::to_owned);
            self.0
                .iter()
                .filter_map(below)
                .filter_map(|rest| Some(rest.iter().next()?.to_str()?.into()))
                .collect()
        }
        fn is_file(&self, path: &Path) -> bool {
            path.to_str().is_some_and(|path| self.0.contains(path))
        }
        fn has_program(&self, origin: Origin, name: &str) -> bool {
            match origin {
                Origin::Path => self.0.contains(format!("path/{name}").as_str()),
                Origin::System => self.0.contains(format!("/usr/bin/{name}").as_str()),
            }
        }
    }

    const RUSTUP: &[&str] = &["path/rustc", "path/cargo", "/rustup/lib/rustlib/host/bin/rust-lld"];
    const TARGET_LIBRARY: &[&str] = &["/rustup/lib/rustlib/x86_64-unknown-none/lib/libcore-1f.rlib"];
    const RUST_SRC: &[&str] = &[
        "/rustup/lib/rustlib/src/rust/library/core/Cargo.toml",
        "/rustup/lib/rustlib/src/rust/library/Cargo.lock",
    ];
    const DEBIAN: &[&str] = &[
        "/usr/bin/rustc",
        "/usr/bin/cargo",
        "/usr/lib/rustlib/src/rust/library/core/Cargo.toml",
        "/usr/lib/rustlib/src/rust/library/Cargo.lock",
    ];
    const DEBIAN_LINKER: &[&str] = &["/usr/bin/rust-lld"];

    fn chosen(files: &[&[&'static str]]) -> Option<(Origin, Library)> {
        choose(&Fake::with(files), Wanted::Target).ok().map(|toolchain| (toolchain.origin, toolchain.library))
    }

    /// The order: a precompiled library beats the source, and the toolchain in use beats the system's.
    #[test]
    fn order_of_preference() {
        let system = [DEBIAN, DEBIAN_LINKER].concat();
        let precompiled = Some((Origin::Path, Library::Precompiled));
        assert_eq!(chosen(&[RUSTUP, TARGET_LIBRARY, RUST_SRC, &system]), precompiled);
        assert_eq!(chosen(&[RUSTUP, RUST_SRC, &system]), Some((Origin::Path, Library::FromSource)));
        assert_eq!(chosen(&[RUSTUP, &system]), Some((Origin::System, Library::FromSource)));
        assert_eq!(chosen(&[&system]), Some((Origin::System, Library::FromSource)));
    }

    /// Where the source is wanted, a target's library is not enough.
    #[test]
    fn source_where_it_is_wanted() {
        let with = |files: &[&[&'static str]]| choose(&Fake::with(files), Wanted::Source);
        let found = with(&[RUSTUP, TARGET_LIBRARY, RUST_SRC]).map(|found| (found.origin, found.library));
        assert_eq!(found, Ok((Origin::Path, Library::FromSource)));
        let reasons = with(&[RUSTUP, TARGET_LIBRARY]).expect_err("there is no source");
        assert!(reasons[0].contains("source"), "{reasons:?}");
    }

    /// A directory for the target without a library in it is no target: rustup leaves such directories behind.
    #[test]
    fn empty_target_directory_is_no_target() {
        assert_eq!(chosen(&[RUSTUP, &["/rustup/lib/rustlib/x86_64-unknown-none/lib/self-contained"]]), None);
    }

    /// Half of the system's packages is refused, with the missing half in the reason.
    #[test]
    fn reasons_name_what_is_missing() {
        let reasons =
            choose(&Fake::with(&[RUSTUP, DEBIAN]), Wanted::Target).expect_err("there is no linker in /usr");
        assert!(reasons[0].contains("x86_64-unknown-none"), "{reasons:?}");
        assert!(reasons[1].contains("rust-lld"), "{reasons:?}");
        let reasons = choose(&Fake::with(&[]), Wanted::Target).expect_err("there is nothing at all");
        assert_eq!(reasons, ["no rustc on PATH", "no rustc in /usr/bin"]);
    }
}
