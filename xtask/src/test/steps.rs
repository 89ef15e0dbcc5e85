//! The cargo commands of the tiers. Neighbour: `check` runs them.

/// Guests at a time: each one keeps a processor busy.
const GUESTS: &str = "--test-threads=2";

/// The members for bare metal. Clippy checks them separately: a build together with the others enables features of their
/// dependencies that they do not use.
const BARE_METAL: &[&str] = &["--package=boot", "--package=kernel"];
/// All other members.
const HOST: &[&str] = &["--workspace", "--exclude=boot", "--exclude=kernel"];

/// One cargo command.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the summary.
    pub name: &'static str,
    /// What follows `cargo`.
    pub arguments: Vec<String>,
    /// For rustdoc.
    pub rustdoc_flags: Option<&'static str>,
}

fn step(name: &'static str, words: &[&str]) -> Step {
    Step { name, arguments: words.iter().map(|&word| word.to_owned()).collect(), rustdoc_flags: None }
}

/// Formatting, clippy and documentation, all without a warning.
pub fn lints() -> Vec<Step> {
    let mut steps = vec![step("formatting", &["fmt", "--all", "--check"])];
    steps.push(step(
        "formatting of the fuzz targets",
        &["fmt", "--manifest-path=tests/fuzz/Cargo.toml", "--check"],
    ));
    steps.push(step(
        "formatting of the disk image's maker",
        &["fmt", "--manifest-path=xtask/image/Cargo.toml", "--check"],
    ));
    for (name, members) in [("lints", HOST), ("lints, bare metal", BARE_METAL)] {
        let words = [&["clippy"], members, &["--all-targets", "--", "--deny=warnings"]].concat();
        steps.push(step(name, &words));
    }
    for (name, members) in [("documentation", HOST), ("documentation, bare metal", BARE_METAL)] {
        let mut documentation = step(name, &[&["doc", "--no-deps"], members].concat());
        documentation.rustdoc_flags = Some("--deny=warnings");
        steps.push(documentation);
    }
    steps
}

/// Tests of the libraries.
pub fn host(filter: Option<&str>) -> Vec<Step> {
    // Without a choice of packages cargo takes those that the workspace names as its host members.
    let mut all = step("tests on the host", &["test"]);
    let mut boot = step("tests of the boot shim's library", &["test", "--package=boot", "--lib"]);
    for tests in [&mut all, &mut boot] {
        tests.arguments.extend(filter.map(str::to_owned));
    }
    vec![all, boot]
}

/// Tests that boot the kernel.
pub fn qemu(filter: Option<&str>) -> Step {
    let mut tests = step("tests in QEMU", &["test", "--package=tests", "--", GUESTS]);
    tests.arguments.extend(filter.map(str::to_owned));
    tests
}

/// Tests that boot the disk image. They are ignored in every other run.
pub fn image() -> Step {
    step(
        "tests of the disk image",
        &["test", "--package=tests", "--test=image", "--", "--ignored", "--test-threads=1"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every member is looked at, and warnings are denied.
    #[test]
    fn lints_deny_warnings() {
        let whole = lints();
        assert!(whole[0].arguments.contains(&"--check".to_owned()));
        for (command, members) in
            [("clippy", HOST), ("clippy", BARE_METAL), ("doc", HOST), ("doc", BARE_METAL)]
        {
            let of_these = |step: &&Step| {
                step.arguments[0] == command
                    && members.iter().all(|word| step.arguments.iter().any(|is| is == word))
            };
            let step = whole.iter().find(of_these).expect("every member is looked at");
            let denies = step.arguments.last().is_some_and(|last| last == "--deny=warnings");
            assert!(denies || step.rustdoc_flags == Some("--deny=warnings"), "{step:?}");
        }
    }

    /// A filter reaches every test command.
    #[test]
    fn filters_reach_the_tests() {
        let filtered = host(Some("buddy"));
        assert!(filtered.iter().all(|step| step.arguments.contains(&"buddy".to_owned())));
        assert_eq!(filtered.len(), 2);
    }

    /// Never more guests at a time than this machine was measured with, with a filter too.
    #[test]
    fn guests_at_a_time() {
        assert_eq!(qemu(Some("plug")).arguments, ["test", "--package=tests", "--", GUESTS, "plug"]);
    }
}
