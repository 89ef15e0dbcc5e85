//! Initialisation after all tables are loaded: `_REG` of the supported regions (6.5.4) and `_INI` of the present devices
//! (6.5.1).
//!
//! A device that is absent then is initialised when it has come ([`Aml::initialize_below`]), and again after it has left:
//! what comes may be another one.
//!
//! All methods share one budget, so a table with a thousand endless `_INI` methods costs no more than one with a single
//! one: a method that exhausts the budget leaves half of the reserve to the others.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::error::{Error, ErrorKind};
use crate::host::Host;
use crate::interpreter::Aml;
use crate::model::{Handle, Object, ROOT, Val};
use crate::name::NameSeg;
use crate::region::PCI_CONFIG;
use crate::run::{MAX_ARGS, Run};

/// `_STA` where there is none: present, enabled, shown, functioning (6.3.7).
const STATUS_DEFAULT: u64 = 0xf;
const STATUS_PRESENT: u64 = 1;
const STATUS_FUNCTIONING: u64 = 8;

/// `_REG`'s second argument: the region can be accessed from now on.
const CONNECTED: u64 = 1;

const SB: NameSeg = NameSeg::literal(*b"_SB_");
const INI: NameSeg = NameSeg::literal(*b"_INI");
const REG: NameSeg = NameSeg::literal(*b"_REG");
const STA: NameSeg = NameSeg::literal(*b"_STA");

impl Aml {
    /// Call it once, after the last table: runs `\_INI` and `\_SB._INI`, then `_REG` of each scope that has a region in PCI
    /// configuration space (memory and I/O are always available, so they get no `_REG`; other spaces are unsupported),
    /// then `_INI` of all present devices. Children of a device that is neither present nor functioning are skipped.
    /// `_STA` is evaluated only where an `_INI` depends on it.
    ///
    /// # Errors
    /// The first error of a method; all others are run nevertheless.
    pub fn initialize(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        self.work(host, |work| work.all())
    }

    /// Runs `_INI` of the devices that enclose `scope`, of `scope`, and of the devices below it, where one is present and its
    /// `_INI` has not run since it came. Call it when a device may have come or left.
    ///
    /// # Errors
    /// As for [`Aml::initialize`].
    pub fn initialize_below(&mut self, host: &mut dyn Host, scope: Handle) -> Result<(), Error> {
        let mut devices: Vec<Handle> = self.ancestors(scope).collect();
        devices.reverse();
        devices.extend(self.core.nodes_below(scope, &Object::is_device_like));
        if !devices.iter().any(|&device| self.core.names.child(device, INI).is_some()) {
            return Ok(());
        }
        self.work(host, |work| work.devices(&devices))
    }

    fn work(
        &mut self,
        host: &mut dyn Host,
        what: impl FnOnce(&mut Work<'_>) -> Result<(), Spent>,
    ) -> Result<(), Error> {
        let mut run = Run::new(&mut self.core, host);
        run.reserve_steps();
        let mut work = Work { run, first: None };
        let _stopped = what(&mut work);
        let first = work.first.take();
        work.run.finish();
        self.core.collect();
        first.map_or(Ok(()), Err)
    }
}

/// The budget is exhausted; the remaining methods are not run.
struct Spent;

struct Work<'a> {
    run: Run<'a>,
    first: Option<Error>,
}

impl Work<'_> {
    fn all(&mut self) -> Result<(), Spent> {
        self.evaluate_child(ROOT, INI)?;
        if let Some(system_bus) = self.run.core.names.child(ROOT, SB) {
            self.evaluate_child(system_bus, INI)?;
        }
        self.connect_regions()?;
        self.devices(&self.run.core.nodes(&Object::is_device_like))
    }

    /// Runs `_INI` of the `devices`, parents first, that are present and whose `_INI` has not run since they came.
    fn devices(&mut self, devices: &[Handle]) -> Result<(), Spent> {
        let system_bus = self.run.core.names.child(ROOT, SB);
        let with_ini = self.with_ini(devices);
        if with_ini.is_empty() {
            return Ok(());
        }
        let mut absent = BTreeSet::new();
        for &device in devices {
            let parent = self.run.core.names.parent(device);
            if parent.is_some_and(|parent| absent.contains(&parent)) {
                absent.insert(device);
                self.run.core.initialized.remove(&device);
                continue;
            }
            if Some(device) == system_bus || !with_ini.contains(&device) {
                continue;
            }
            let status = match self.evaluate_child(device, STA)? {
                Some(Ok(value)) => self.run.to_integer(value).unwrap_or(STATUS_DEFAULT),
                Some(Err(Failed)) => 0,
                None => STATUS_DEFAULT,
            };
            if status & STATUS_PRESENT == 0 {
                self.run.core.initialized.remove(&device);
                if status & STATUS_FUNCTIONING == 0 {
                    absent.insert(device);
                }
            } else if self.run.core.names.child(device, INI).is_some()
                && self.run.core.initialized.insert(device)
            {
                self.evaluate_child(device, INI)?;
            }
        }
        Ok(())
    }

    /// Those of the `devices` that have an `_INI`, or a descendant that has one.
    fn with_ini(&self, devices: &[Handle]) -> BTreeSet<Handle> {
        let names = &self.run.core.names;
        let mut found = BTreeSet::new();
        for &device in devices {
            let mut up = names.child(device, INI).map(|_| device);
            // If a node is in the set, so are its parents.
            while let Some(node) = up.filter(|&node| found.insert(node)) {
                up = names.parent(node);
            }
        }
        found
    }

    fn connect_regions(&mut self) -> Result<(), Spent> {
        let regions = self
            .run
            .core
            .nodes(&|object| matches!(object, Object::Region(region) if region.space == PCI_CONFIG));
        let mut scopes = BTreeSet::new();
        for region in regions {
            let Some(scope) = self.run.core.names.parent(region) else { continue };
            let Some(node) = self.run.core.names.child(scope, REG) else { continue };
            if !scopes.insert(scope) {
                continue;
            }
            let mut args = [Val::Uninit; MAX_ARGS];
            for (to, from) in args.iter_mut().zip([u64::from(PCI_CONFIG), CONNECTED]) {
                *to = Val::Int(from);
            }
            let _failed = self.evaluate(node, args)?;
        }
        Ok(())
    }

    fn evaluate_child(&mut self, scope: Handle, name: NameSeg) -> Result<Option<Result<Val, Failed>>, Spent> {
        match self.run.core.names.child(scope, name) {
            Some(node) => self.evaluate(node, [Val::Uninit; MAX_ARGS]).map(Some),
            None => Ok(None),
        }
    }

    /// The value, or the method's result; a failure is recorded and leaves no state behind.
    fn evaluate(&mut self, node: Handle, args: [Val; MAX_ARGS]) -> Result<Result<Val, Failed>, Spent> {
        let node = self.run.core.names.followed(node);
        let result = match self.run.core.names.object(node) {
            Ok(&Object::Method(method)) => self.run.step(1).and_then(|()| self.run.call(node, method, args)),
            _ => self.run.step(1).and_then(|()| self.run.value_of(node)),
        };
        self.run.finish();
        let error = match result {
            Ok(value @ Val::Int(_)) => return Ok(Ok(value)),
            Ok(_) => {
                self.run.core.collect();
                return Ok(Ok(Val::Uninit));
            }
            Err(error) => error.at(|| self.run.core.names.path(node), 0),
        };
        self.run.core.collect();
        let spent = *error.kind() == ErrorKind::TooManySteps && self.run.release_reserve().is_err();
        self.first.get_or_insert(error);
        if spent { Err(Spent) } else { Ok(Err(Failed)) }
    }
}

/// An evaluation failed; the error is recorded.
struct Failed;
