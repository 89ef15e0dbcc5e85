//! The QEMU command of a guest: the one place that composes it. Pure: nothing here reads the state of the host.
//! Neighbours: `cargo xtask run` fills in a [`Setup`] and starts it; `task` asks it for the command, for [`crate::Plan`].
//!
//! Where the DIMMs of a guest come to lie, with the defaults (QEMU aligns the window to 1 GiB and leaves 1 GiB
//! for each slot):
//!
//! ```text
//! 0        512M                 4G                                       4G + (8T - 512M) + 32G
//! | boot   |        devices     | dimm0 | dimm1 | ...                                      |
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use carapace_cli::memory_map::palette::Depth;

use crate::discovery::REMOTE;
pub use crate::shape::{Accelerator, Machine, Shape, Speed, VirtioMem};
use crate::size::ByteSize;

/// QEMU's file that says what this computer is to the kernel (`kernel/src/terminal/host.rs`).
const HOST: &str = "opt/carapace/host";
/// QEMU's file with the colours that the terminal has (`kernel/src/commands/map.rs`).
const COLOUR: &str = "opt/carapace/colour";
/// The I/O port by which the guest ends QEMU: value v gives exit status 2v + 1.
const DEBUG_EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=4";
/// The address of gdb's port: this machine only, since gdb controls all of the guest.
pub const LOCALHOST: &str = "127.0.0.1";
/// Where the guest's serial port goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialPort {
    /// Standard input and output, with QEMU's monitor behind Ctrl-a c or on a socket of its own.
    Stdio,
    /// A listening socket at this path.
    Unix(PathBuf),
}

/// The program that starts the guest, as the kernel learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The memory that this computer has to give.
    pub free: ByteSize,
    /// Who reads the serial port.
    pub output: Output,
}

/// The reader of the serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A person: a line may be shown for a moment, and erased.
    Terminal,
    /// A program.
    Pipe,
}

/// How the kernel gets into the guest.
#[derive(Clone, Debug)]
pub enum Start {
    /// By PVH, without firmware of any size.
    Shim {
        /// The boot shim, as QEMU's kernel.
        boot: PathBuf,
        /// The kernel, as QEMU's initial RAM disk; without it the shim ends with a status that says so.
        kernel: Option<PathBuf>,
    },
    /// From a disk, which is never written to.
    Disk {
        /// The image.
        image: PathBuf,
        /// The firmware, where it is not QEMU's own.
        firmware: Option<PathBuf>,
    },
}

/// A guest as it is started: the machine, the kernel and the connections to both.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The QEMU program.
    pub qemu: PathBuf,
    /// Memory and processors.
    pub shape: Shape,
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Where the kernel comes from.
    pub start: Start,
    /// Where the serial port goes; nowhere if there is none.
    pub serial: Option<SerialPort>,
    /// QMP sockets: the user's, that of our tasks, and so on. QMP has one client at a time.
    pub qmp: Vec<PathBuf>,
    /// QEMU's monitor for a person, where it is not behind Ctrl-a c on standard input: a socket.
    pub monitor: Option<PathBuf>,
    /// The second serial port, on which programs talk to the kernel: a listening socket.
    pub remote: Option<PathBuf>,
    /// The colours that the reader of the serial port shows.
    pub colours: Depth,
    /// The program that carries out what the guest's shell asks for, if one does.
    pub host: Option<Host>,
    /// The port on which QEMU waits for gdb, with the guest stopped.
    pub gdb: Option<u16>,
    /// Arguments that come last.
    pub more: Vec<String>,
}

impl Setup {
    /// A guest without any connection.
    pub const fn new(qemu: PathBuf, shape: Shape, accelerator: Accelerator, start: Start) -> Setup {
        Setup {
            qemu,
            shape,
            accelerator,
            start,
            serial: None,
            qmp: Vec::new(),
            monitor: None,
            remote: None,
            colours: Depth::Sixteen,
            host: None,
            gdb: None,
            more: Vec::new(),
        }
    }

    /// The command, program first.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn command(&self) -> Result<Vec<String>> {
        let shape = &self.shape;
        let mut line = vec![utf8(&self.qemu)?];
        let mut add = |words: &[&str]| line.extend(words.iter().map(|&word| word.to_owned()));
        // Nothing that is not asked for: no network, no screen, no user's configuration.
        add(&["-no-user-config", "-nodefaults", "-display", "none"]);
        let is_micro = shape.machine == Machine::Microvm;
        let acpi = if is_micro { ",acpi=on" } else { "" };
        add(&["-machine", &format!("{}{acpi}", shape.machine.name())]);
        // QEMU takes the first of several that works, so an own one replaces this.
        if !self.more.iter().any(|word| word == "-accel") {
            add(&["-accel", self.accelerator.name()]);
        }
        if let Some(model) = shape.cpu_model() {
            add(&["-cpu", &model]);
        }
        add(&["-smp", &shape.cpus.to_string()]);
        match (shape.slots, shape.virtio_mem.len()) {
            // QEMU accepts slots and DIMMs there, and maps them nowhere.
            _ if is_micro => add(&["-m", &shape.memory.to_string()]),
            (0, 0) => add(&["-m", &shape.memory.to_string()]),
            (slots, _) => {
                add(&["-m", &format!("{},slots={slots},maxmem={}", shape.memory, shape.most_memory())]);
            }
        }
        // A node without memory is accepted only where node 0's memory is an object of its own.
        if !is_micro {
            add(&["-object", &format!("memory-backend-ram,id=m0,size={}", shape.memory)]);
            if shape.hmat.is_empty() {
                add(&["-numa", "node,nodeid=0,memdev=m0"]);
            } else {
                // Initiators are nodes that are given their processors explicitly.
                add(&["-machine", "hmat=on"]);
                add(&["-numa", &format!("node,nodeid=0,memdev=m0,cpus=0-{}", shape.cpus - 1)]);
            }
            for node in 1..shape.nodes {
                let initiator = if shape.hmat.is_empty() { "" } else { ",initiator=0" };
                add(&["-numa", &format!("node,nodeid={node}{initiator}")]);
            }
            for (node, Speed { latency, bandwidth }) in shape.hmat.iter().enumerate() {
                for value in [
                    format!("access-latency,latency={latency}"),
                    format!("access-bandwidth,bandwidth={bandwidth}"),
                ] {
                    let pair = format!("hmat-lb,initiator=0,target={node},hierarchy=memory");
                    add(&["-numa", &format!("{pair},data-type={value}")]);
                }
            }
        }
        for (number, VirtioMem { size, node, block }) in shape.virtio_mem.iter().enumerate() {
            // The host's memory is taken as it is plugged.
            add(&["-object", &format!("memory-backend-ram,id=vmem{number},size={size},reserve=off")]);
            let block = block.map(|block| format!(",block-size={block}")).unwrap_or_default();
            add(&[
                "-device",
                &format!(
                    "virtio-mem-pci,id=vm{number},memdev=vmem{number},node={node},requested-size=0,\
                     unplugged-inaccessible=on{block}"
                ),
            ]);
        }
        if shape.balloon {
            add(&["-device", "virtio-balloon-pci,id=balloon0,free-page-reporting=on"]);
        }
        add(&["-device", DEBUG_EXIT]);
        if self.colours != Depth::Sixteen {
            add(&["-fw_cfg", &format!("name={COLOUR},string={}", self.colours.name())]);
        }
        if let Some(host) = &self.host {
            let terminal = if host.output == Output::Terminal { " terminal" } else { "" };
            add(&["-fw_cfg", &format!("name={HOST},string={}{terminal}", host.free.bytes())]);
        }
        // QMP before the serial port: it must listen already while QEMU waits for the serial connection.
        for path in &self.qmp {
            add(&["-qmp", &format!("unix:{},server=on,wait=off", escaped(&utf8(path)?))]);
        }
        match (&self.serial, &self.monitor) {
            (Some(SerialPort::Stdio), Some(monitor)) => {
                let path = escaped(&utf8(monitor)?);
                add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
                add(&["-chardev", &format!("socket,id=monitor,path={path},server=on,wait=off")]);
                add(&["-mon", "chardev=monitor,mode=readline"]);
            }
            (Some(SerialPort::Stdio), None) => {
                add(&["-chardev", "stdio,id=console,mux=on,signal=off"]);
                add(&["-serial", "chardev:console", "-mon", "chardev=console,mode=readline"]);
            }
            (Some(SerialPort::Unix(path)), _) => {
                let path = escaped(&utf8(path)?);
                add(&["-chardev", &format!("socket,id=console,path={path},server=on,wait=on")]);
                add(&["-serial", "chardev:console"]);
            }
            (None, _) => {}
        }
        if let Some(path) = &self.remote {
            // Without a first port this would be the first.
            ensure!(self.serial.is_some(), "a guest without a serial port has no second one");
            let [chardev, socket, serial, device] = second_port(&utf8(path)?);
            if is_micro {
                // It has one port of its own.
                add(&[
                    &chardev,
                    &socket,
                    "-device",
                    &format!("isa-serial,chardev={REMOTE},iobase=0x2f8,irq=3"),
                ]);
            } else {
                add(&[&chardev, &socket, &serial, &device]);
            }
        }
        if let Some(port) = self.gdb {
            add(&["-gdb", &format!("tcp:{LOCALHOST}:{port}"), "-S"]);
        }
        match &self.start {
            Start::Shim { boot, kernel } => {
                add(&["-kernel", &utf8(boot)?]);
                if let Some(kernel) = kernel {
                    add(&["-initrd", &utf8(kernel)?]);
                }
            }
            Start::Disk { image, firmware } => {
                if let Some(firmware) = firmware {
                    add(&["-bios", &utf8(firmware)?]);
                }
                // A machine with a disk has a screen: crate `bootloader`'s BIOS loader does not start without.
                add(&[
                    "-vga",
                    "std",
                    "-drive",
                    &format!("format=raw,snapshot=on,file={}", escaped(&utf8(image)?)),
                ]);
            }
        }
        line.extend(self.more.iter().cloned());
        Ok(line)
    }
}

/// The arguments for the second serial port, with a listening socket at `path`.
pub(crate) fn second_port(path: &str) -> [String; 4] {
    let socket = format!("socket,id={REMOTE},path={},server=on,wait=off", escaped(path));
    ["-chardev".to_owned(), socket, "-serial".to_owned(), format!("chardev:{REMOTE}")]
}

/// A path as QEMU's command line and JSON need it.
pub fn utf8(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .with_context(|| format!("the path {} is not UTF-8, which QEMU's command needs", path.display()))
}

/// A comma ends a value in QEMU's options; two stand for one.
fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Setup {
        let start = Start::Shim { boot: "/t/carapace-boot".into(), kernel: Some("/t/carapace".into()) };
        Setup {
            serial: Some(SerialPort::Stdio),
            ..Setup::new(
                "/usr/bin/qemu-system-x86_64".into(),
                crate::shape::tests::shape(),
                Accelerator::Tcg,
                start,
            )
        }
    }

    fn line(guest: &Setup) -> String {
        guest.command().expect("UTF-8 paths").join(" ")
    }

    /// The default guest, word by word: DIMMs go where the example says, to node 1, without a `-cpu`.
    #[test]
    fn default_command() {
        assert_eq!(
            line(&guest()),
            "/usr/bin/qemu-system-x86_64 -no-user-config -nodefaults -display none -machine q35 -accel tcg \
             -smp 1 -m 512M,slots=32,maxmem=256G -object memory-backend-ram,id=m0,size=512M \
             -numa node,nodeid=0,memdev=m0 -numa node,nodeid=1 -device isa-debug-exit,iobase=0xf4,iosize=4 \
             -chardev stdio,id=console,mux=on,signal=off -serial chardev:console \
             -mon chardev=console,mode=readline -kernel /t/carapace-boot -initrd /t/carapace"
        );
    }

    /// Proves that the kernel learns the terminal's colours where they are not the usual, and what the host has to give,
    /// with the words that it reads.
    #[test]
    fn colours() {
        let plain = Setup { colours: Depth::None, ..guest() };
        assert!(line(&plain).contains(" -fw_cfg name=opt/carapace/colour,string=never "));
        assert!(!line(&guest()).contains("fw_cfg"));
        let many = Setup { colours: Depth::True, ..guest() };
        assert!(line(&many).contains(" -fw_cfg name=opt/carapace/colour,string=truecolor "));
        let host = |output| Some(Host { free: ByteSize::GIB, output });
        let shown = Setup { host: host(Output::Terminal), ..guest() };
        assert!(line(&shown).contains(" -fw_cfg name=opt/carapace/host,string=1073741824 terminal "));
        let piped = Setup { host: host(Output::Pipe), ..guest() };
        assert!(line(&piped).contains(" -fw_cfg name=opt/carapace/host,string=1073741824 "));
    }

    /// With sockets: QMP stands before the serial port on which QEMU waits; a comma in a path is doubled.
    #[test]
    fn sockets() {
        let mut guest = guest();
        guest.serial = Some(SerialPort::Unix("/s/a,b".into()));
        guest.qmp = vec!["/s/qmp".into()];
        let line = line(&guest);
        let qmp = line.find("-qmp unix:/s/qmp,server=on,wait=off").expect("QMP");
        let serial = line.find("-chardev socket,id=console,path=/s/a,,b,server=on,wait=on").expect("serial");
        assert!(qmp < serial, "{line}");
        assert!(!line.contains("stdio"), "{line}");
    }

    /// A monitor of its own has a socket, and the serial port all of standard input.
    #[test]
    fn own_monitor() {
        let line = line(&Setup { monitor: Some("/s/7.monitor".into()), ..guest() });
        assert!(line.contains(
            " -chardev stdio,id=console,signal=off -serial chardev:console \
             -chardev socket,id=monitor,path=/s/7.monitor,server=on,wait=off -mon chardev=monitor,mode=readline "
        ));
    }

    /// The second serial port comes after the first one, and QEMU does not wait for a client of it.
    #[test]
    fn second_serial_port() {
        let mut guest = guest();
        guest.remote = Some("/s/7.remote".into());
        let line = line(&guest);
        let first = line.find("-serial chardev:console").expect("the first one");
        let second = line
            .find("-chardev socket,id=remote,path=/s/7.remote,server=on,wait=off -serial chardev:remote")
            .expect("the second one");
        assert!(first < second, "{line}");
    }

    /// A disk takes the place of the shim; the firmware is named only where it is not QEMU's own.
    #[test]
    fn disks() {
        let mut guest = guest();
        guest.start = Start::Disk { image: "/t/a,b.img".into(), firmware: Some("/f/OVMF.fd".into()) };
        let uefi = line(&guest);
        assert!(
            uefi.ends_with("-bios /f/OVMF.fd -vga std -drive format=raw,snapshot=on,file=/t/a,,b.img"),
            "{uefi}"
        );
        guest.start = Start::Disk { image: "/t/c.img".into(), firmware: None };
        let bios = line(&guest);
        assert!(!bios.contains("-bios") && !bios.contains("-kernel"), "{bios}");
    }

    /// A guest for gdb listens on this machine alone, and does not run before gdb says so.
    #[test]
    fn waits_for_gdb() {
        let mut guest = guest();
        guest.gdb = Some(1234);
        assert!(line(&guest).contains(" -gdb tcp:127.0.0.1:1234 -S -kernel"), "{}", line(&guest));
    }

    /// An HMAT has a latency and a bandwidth for each node, and each node its speed.
    #[test]
    fn speeds_of_nodes() {
        let mut guest = guest();
        guest.shape.hmat = vec!["80:20G".parse().unwrap(), "10:204800M".parse().unwrap()];
        guest.shape.check().unwrap();
        let line = guest.command().unwrap().join(" ");
        for words in [
            "-machine hmat=on -numa node,nodeid=0,memdev=m0,cpus=0-0 -numa node,nodeid=1,initiator=0",
            "-numa hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-latency,latency=80",
            "-numa hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-bandwidth,bandwidth=200G",
        ] {
            assert!(line.contains(words), "{line}");
        }
        guest.shape.hmat.pop();
        assert!(guest.shape.check().is_err());
        for bad in ["80", "0:1G", "80:", "80:1K", ":1G"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    /// virtio-mem devices have numbers, a node and blocks, and there are addresses for them.
    #[test]
    fn virtio_mem_devices() {
        let mut guest = guest();
        guest.shape.virtio_mem = vec!["16G".parse().unwrap(), "300G,node=1,block=4M".parse().unwrap()];
        let line = line(&guest);
        assert!(line.contains(" -m 512M,slots=32,maxmem=326144M "), "{line}");
        assert!(line.contains(
            " -object memory-backend-ram,id=vmem1,size=300G,reserve=off -device virtio-mem-pci,id=vm1,memdev=vmem1,node=1,\
             requested-size=0,unplugged-inaccessible=on,block-size=4M "
        ));
        for wrong in ["", "0", "3M", "4G,block=3M", "4G,nodes=1", "4G,node=x"] {
            assert!(wrong.parse::<VirtioMem>().is_err(), "{wrong}");
        }
        guest.shape.nodes = 1;
        assert!(guest.shape.check().is_err());
    }

    /// The user's own QEMU arguments come last, so that they win.
    #[test]
    fn more_arguments_come_last() {
        let mut guest = guest();
        guest.more = vec!["-m".into(), "1G".into()];
        assert!(line(&guest).ends_with("-initrd /t/carapace -m 1G"));
    }

    /// One node has all memory; without slots there is no window that QEMU would refuse.
    #[test]
    fn one_node_no_slots() {
        let mut guest = guest();
        guest.shape.nodes = 1;
        guest.shape.slots = 0;
        let line = line(&guest);
        assert!(line.contains("-m 512M -object") && !line.contains("nodeid=1"), "{line}");
    }

    /// An accelerator among the arguments of the user replaces the chosen one: QEMU takes the first that works.
    #[test]
    fn an_own_accelerator_is_the_only_one() {
        let mut guest = guest();
        guest.more = vec!["-accel".into(), "tcg,thread=single".into()];
        assert_eq!(line(&guest).matches("-accel").count(), 1);
    }
}
