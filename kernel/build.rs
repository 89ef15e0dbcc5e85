//! Link arguments of the bare-metal kernel, and a cfg for what depends on how well it is optimised. They stand here and not in RUSTFLAGS so that the standard
//! library, built from source where no prebuilt one is at hand, stays cached.

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rerun-if-changed=build.rs");
    // Profile `fast`: values stay on the stack that profile `release` keeps in registers, or moves once.
    println!("cargo:rustc-check-cfg=cfg(large_frames)");
    if std::env::var("OPT_LEVEL").is_ok_and(|level| level != "3") {
        println!("cargo:rustc-cfg=large_frames");
    }
    // On the host the kernel is only checked (clippy, rust-analyzer), never linked.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    for argument in [
        // The addresses, segments and their rights.
        &format!("-T{folder}/link.ld")[..],
        // ET_EXEC at the address of the virtual layout: nothing is relocated at boot.
        "--no-pie",
        // Segments are aligned to 4 KiB, not to the linker's default of 64 KiB or 2 MiB.
        "-zmax-page-size=4096",
        // A section that the script does not name is an error, not a surprise in some segment.
        "--orphan-handling=error",
        // No separate segment for the note: it has no reader.
        "--build-id=none",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
