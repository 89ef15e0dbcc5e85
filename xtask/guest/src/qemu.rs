//! The QEMU command of a guest: the one place that composes it. Pure: nothing here reads the state of the host.
//! Neighbours: `cargo xtask run` fills in a [`Setup`] and starts it; `task` asks it for the command, for [`crate::Plan`].
//!
//! Where the DIMMs of a guest come to lie, with the defaults (QEMU aligns the window to 1 GiB and leaves 1 GiB
//! for each slot):
//!
//! ```text
//! 0        512M                 4G                                     4G + (256G - 512M) + 32G
//! | boot   |        devices     | dimm0 | dimm1 | ...                                      |
//! ```

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use crate::discovery::REMOTE;
use crate::size::ByteSize;

/// QEMU's file that tells the kernel that colours are not wanted (`kernel/src/commands/map.rs`).
const COLOUR: &str = "opt/carapace/colour";
/// The I/O port by which the guest ends QEMU: value v gives exit status 2v + 1.
const DEBUG_EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=4";
/// The address of gdb's port: this machine only, since gdb controls all of the guest.
pub const LOCALHOST: &str = "127.0.0.1";
/// Above this QEMU moves hot-plugged memory to 1 TiB, which its default CPU model cannot address.
const HYPERTRANSPORT: u64 = 0xfd_0000_0000;
/// The model for guests that need more address bits; it also has 1 GiB pages.
const WIDE_CPU: &str = "max,phys-bits=46";

/// QEMU's machine types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Intel Q35.
    Q35,
    /// Intel 440FX.
    Pc,
    /// QEMU's own, without PCI: hardware-reduced ACPI, no memory hotplug.
    Microvm,
}

impl Machine {
    /// Those that are known to work.
    pub const ALL: [Machine; 3] = [Machine::Q35, Machine::Pc, Machine::Microvm];

    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
            Machine::Microvm => "microvm",
        }
    }

    /// Its description.
    pub const fn description(self) -> &'static str {
        match self {
            Machine::Q35 => "Intel Q35, with PCI Express",
            Machine::Pc => "Intel 440FX",
            Machine::Microvm => "no PCI, hardware-reduced ACPI, no memory hotplug",
        }
    }
}

impl FromStr for Machine {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Machine> {
        let found = Machine::ALL.into_iter().find(|machine| machine.name() == name);
        found.with_context(|| format!("`{name}` is no machine type that is known to work"))
    }
}

/// Where the guest's serial port goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialPort {
    /// Standard input and output, with QEMU's monitor behind Ctrl-a c.
    Stdio,
    /// A listening socket at this path.
    Unix(PathBuf),
}

/// Whether the reader of the serial port shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Yes.
    Welcome,
    /// No.
    Unwelcome,
}

/// The accelerators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Emulation.
    Tcg,
    /// The processor itself.
    Kvm,
}

impl Accelerator {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// Memory and processors of a guest.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Machine type.
    pub machine: Machine,
    /// Memory at boot, in node 0.
    pub memory: ByteSize,
    /// Slots for DIMMs.
    pub slots: u64,
    /// Memory at boot and all DIMMs together.
    pub max_memory: ByteSize,
    /// NUMA nodes.
    pub nodes: u64,
    /// Processors.
    pub cpus: u64,
    /// CPU model, where one was asked for.
    pub cpu: Option<String>,
    /// virtio-mem devices: vm0, vm1, ...
    pub virtio_mem: Vec<VirtioMem>,
    /// A balloon by which the guest reports free pages.
    pub balloon: bool,
    /// The speed of each node's memory, from node 0 on, for an HMAT. Empty: the machine has none.
    pub hmat: Vec<Speed>,
}

/// How fast a node's memory is, `NS:SIZE`: an access takes so many nanoseconds, and a second moves so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// The latency in nanoseconds.
    pub latency: u64,
    /// The bandwidth in bytes per second.
    pub bandwidth: ByteSize,
}

impl FromStr for Speed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Speed> {
        let (latency, bandwidth) =
            text.split_once(':').with_context(|| format!("`{text}` is no NS:SIZE, as in 80:20G"))?;
        let latency = latency.parse().with_context(|| format!("`{latency}` nanoseconds"))?;
        let speed = Speed { latency, bandwidth: bandwidth.parse()? };
        let is_whole = speed.bandwidth.bytes().is_multiple_of(ByteSize::MIB.bytes());
        ensure!(latency > 0 && speed.bandwidth.bytes() > 0 && is_whole, "`{text}`: some ns, and whole MiB/s");
        Ok(speed)
    }
}

/// A virtio-mem device, `SIZE[,node=N][,block=SIZE]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMem {
    /// The most memory that it can plug.
    pub size: ByteSize,
    /// The node of its memory.
    pub node: u64,
    /// The size of its blocks, where it is not QEMU's default.
    pub block: Option<ByteSize>,
}

impl FromStr for VirtioMem {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<VirtioMem> {
        let mut words = text.split(',');
        let size: ByteSize = words.next().unwrap_or_default().parse()?;
        let mut device = VirtioMem { size, node: 0, block: None };
        for word in words {
            match word.split_once('=') {
                Some(("node", node)) => {
                    device.node = node.parse().with_context(|| format!("node `{node}`"))?
                }
                Some(("block", block)) => device.block = Some(block.parse()?),
                _ => anyhow::bail!("`{word}` is neither node=N nor block=SIZE"),
            }
        }
        let block = device.block.unwrap_or(ByteSize::MIB.times(2));
        let fits = block.bytes().is_power_of_two() && size.bytes().is_multiple_of(block.bytes());
        ensure!(size.bytes() > 0 && fits, "{size} does not consist of blocks of {block}");
        Ok(device)
    }
}

/// With less, QEMU puts the kernel's file over the firmware's own memory, and nothing says a word.
const LEAST_MEMORY: ByteSize = ByteSize::MIB.times(3);

impl Shape {
    /// Refuses what QEMU would refuse in words of its own, or misread.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.memory >= LEAST_MEMORY && self.memory.bytes().is_multiple_of(ByteSize::MIB.bytes()),
            "--memory {}: memory comes in whole MiB, and at least {LEAST_MEMORY} of it",
            self.memory
        );
        for device in &self.virtio_mem {
            let nodes = self.nodes;
            ensure!(device.node < nodes, "--virtio-mem: there is no node {} (--nodes {nodes})", device.node);
        }
        let (speeds, nodes) = (self.hmat.len() as u64, self.nodes);
        ensure!(
            speeds == 0 || speeds == nodes,
            "--hmat has {speeds} speeds, one for each of the {nodes} nodes is needed"
        );
        ensure!(speeds == 0 || self.machine != Machine::Microvm, "--hmat: microvm has no nodes");
        ensure!(
            self.slots == 0 || self.max_memory > self.memory,
            "--max-memory {} leaves no room for DIMMs above --memory {} (or say --slots 0)",
            self.max_memory,
            self.memory
        );
        Ok(())
    }

    /// The most memory that the guest can have: what QEMU reserves addresses for.
    fn most_memory(&self) -> ByteSize {
        let devices: u64 = self.virtio_mem.iter().map(|device| device.size.bytes()).sum();
        // A GiB more for each device: QEMU aligns them.
        let gaps = self.virtio_mem.len() as u64 * ByteSize::GIB.bytes();
        let least = self.memory.bytes().saturating_add(devices).saturating_add(gaps);
        match self.slots {
            0 => ByteSize::MIB.times(least.div_ceil(ByteSize::MIB.bytes())),
            _ if devices == 0 => self.max_memory,
            _ => ByteSize::MIB.times(least.max(self.max_memory.bytes()).div_ceil(ByteSize::MIB.bytes())),
        }
    }

    /// The CPU model to ask for: the given one; else QEMU's default where that can address everything.
    pub fn cpu_model(&self) -> Option<String> {
        let wide = (self.end_of_addresses() > HYPERTRANSPORT).then(|| WIDE_CPU.to_owned());
        self.cpu.clone().or(wide)
    }

    /// Where the highest address of the guest's memory map ends, as QEMU lays it out: memory above 4 GiB, the
    /// window for DIMMs, the window for 64-bit PCI devices.
    fn end_of_addresses(&self) -> u64 {
        let gib = ByteSize::GIB.bytes();
        let (below_limit, below, pci_window) = match self.machine {
            Machine::Q35 => (0xb000_0000, 2 * gib, 32 * gib),
            Machine::Pc => (0xe000_0000, 3 * gib, 2 * gib),
            Machine::Microvm => (0xc000_0000, 3 * gib, 0),
        };
        let memory = self.memory.bytes();
        let above_4g = if memory >= below_limit { memory - below } else { 0 };
        let start = (4 * gib).saturating_add(above_4g).next_multiple_of(gib);
        let window = match (self.slots, self.virtio_mem.len()) {
            (0, 0) => 0,
            (slots, _) => self.most_memory().bytes().saturating_sub(memory).saturating_add(slots * gib),
        };
        start.saturating_add(window).saturating_add(pci_window)
    }
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
    /// A QMP socket.
    pub qmp: Option<PathBuf>,
    /// Another one, for our own tasks: QMP has one client at a time.
    pub own_qmp: Option<PathBuf>,
    /// The second serial port, on which our own tasks talk to the kernel: a listening socket.
    pub own_remote: Option<PathBuf>,
    /// Whether the reader of the serial port shows colours.
    pub colours: Colours,
    /// The port on which QEMU waits for gdb, with the guest stopped.
    pub gdb: Option<u16>,
    /// Arguments that come last.
    pub more: Vec<String>,
}

impl Setup {
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
        if self.colours == Colours::Unwelcome {
            add(&["-fw_cfg", &format!("name={COLOUR},string=never")]);
        }
        // QMP before the serial port: it must listen already while QEMU waits for the serial connection.
        for path in [&self.qmp, &self.own_qmp].into_iter().flatten() {
            add(&["-qmp", &format!("unix:{},server=on,wait=off", escaped(&utf8(path)?))]);
        }
        match &self.serial {
            Some(SerialPort::Stdio) => {
                add(&["-chardev", "stdio,id=console,mux=on,signal=off"]);
                add(&["-serial", "chardev:console", "-mon", "chardev=console,mode=readline"]);
            }
            Some(SerialPort::Unix(path)) => {
                let path = escaped(&utf8(path)?);
                add(&["-chardev", &format!("socket,id=console,path={path},server=on,wait=on")]);
                add(&["-serial", "chardev:console"]);
            }
            None => {}
        }
        if let Some(path) = &self.own_remote {
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
        Setup {
            qemu: "/usr/bin/qemu-system-x86_64".into(),
            shape: Shape {
                machine: Machine::Q35,
                memory: size("512M"),
                slots: 32,
                max_memory: size("256G"),
                nodes: 2,
                cpus: 1,
                cpu: None,
                virtio_mem: Vec::new(),
                balloon: false,
                hmat: Vec::new(),
            },
            accelerator: Accelerator::Tcg,
            start: Start::Shim { boot: "/t/carapace-boot".into(), kernel: Some("/t/carapace".into()) },
            serial: Some(SerialPort::Stdio),
            qmp: None,
            own_qmp: None,
            own_remote: None,
            colours: Colours::Welcome,
            gdb: None,
            more: Vec::new(),
        }
    }

    fn size(text: &str) -> ByteSize {
        text.parse().expect("a size")
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

    /// The kernel learns that colours are unwelcome, and nothing else.
    #[test]
    fn colours() {
        let plain = Setup { colours: Colours::Unwelcome, ..guest() };
        assert!(line(&plain).contains(" -fw_cfg name=opt/carapace/colour,string=never "));
        assert!(!line(&guest()).contains("fw_cfg"));
    }

    /// With sockets: QMP stands before the serial port on which QEMU waits; a comma in a path is doubled.
    #[test]
    fn sockets() {
        let mut guest = guest();
        guest.serial = Some(SerialPort::Unix("/s/a,b".into()));
        guest.qmp = Some("/s/qmp".into());
        let line = line(&guest);
        let qmp = line.find("-qmp unix:/s/qmp,server=on,wait=off").expect("QMP");
        let serial = line.find("-chardev socket,id=console,path=/s/a,,b,server=on,wait=on").expect("serial");
        assert!(qmp < serial, "{line}");
        assert!(!line.contains("stdio"), "{line}");
    }

    /// The second serial port comes after the first one, and QEMU does not wait for a client of it.
    #[test]
    fn second_serial_port() {
        let mut guest = guest();
        guest.own_remote = Some("/s/7.remote".into());
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

    /// The CPU model gets more address bits exactly if QEMU's default model has too few (measured with QEMU 7.2: 900G
    /// starts with it, 1T does not), and never against the user's choice.
    #[test]
    fn wide_addresses() {
        let mut shape = guest().shape;
        let mut model = |max: &str, slots| {
            (shape.max_memory, shape.slots) = (size(max), slots);
            shape.cpu_model()
        };
        assert_eq!(model("900G", 32), None);
        assert_eq!(model("1T", 32).as_deref(), Some(WIDE_CPU));
        assert_eq!(model("900G", 256).as_deref(), Some(WIDE_CPU));
        assert_eq!(model("4T", 0), None);
        shape.cpu = Some("Haswell".into());
        shape.max_memory = size("4T");
        assert_eq!(shape.cpu_model().as_deref(), Some("Haswell"));
    }

    /// Sizes that QEMU would misread or answer with a riddle are refused.
    #[test]
    fn impossible_shapes() {
        let good = guest().shape;
        assert!(good.check().is_ok());
        assert!(
            Shape { memory: size("3M"), ..good.clone() }.check().is_ok(),
            "the guest itself says that it is too little"
        );
        for (memory, max_memory) in [("0", "1G"), ("1000", "1G"), ("2M", "1G"), ("1G", "1G"), ("2G", "1G")] {
            let shape = Shape { memory: size(memory), max_memory: size(max_memory), ..good.clone() };
            assert!(shape.check().is_err(), "{memory} of {max_memory}");
        }
    }
}
