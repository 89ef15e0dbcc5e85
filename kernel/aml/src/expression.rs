//! Expressions (20.2.5.4): terms with a value.
use crate::code::is_name;
use crate::convert::Style;
use crate::error::{Error, ErrorKind};
use crate::model::{Data, Handle, Object, Ref, Val};
use crate::opcode as op;
use crate::run::{MAX_ARGS, Run};
use crate::store_target::{Calls, StoreTarget, slot_of};
use crate::value::Kind;

/// The value of `Revision`: in ACPICA its own version, here the ACPI revision.
const REVISION: u64 = 0x0000_0006;

/// The interfaces that `_OSI` affirms: those of Windows up to 11, as ACPICA and Linux do, because firmware chooses its
/// code by them and is tested with Windows only; a later or invented name is denied, as there. Older Windows than 2000 had
/// names without `_OSI`, and Linux' own names are denied as Linux denies its name.
///
/// Features: extended address space descriptors are decoded (`resources`). Containers (ACPI0004) and processors declared
/// as devices are walked like any device, so "Module Device" and "Processor Device" are affirmed as in Linux; firmware
/// that is denied them may leave out what is in them. "3.0 Thermal Model" and "3.0 _SCP Extensions" are denied:
/// nothing here controls temperatures.
const INTERFACES: [&str; 26] = [
    "Windows 2000",
    "Windows 2001",
    "Windows 2001 SP1",
    "Windows 2001.1",
    "Windows 2001 SP2",
    "Windows 2001.1 SP1",
    "Windows 2006",
    "Windows 2006.1",
    "Windows 2006 SP1",
    "Windows 2006 SP2",
    "Windows 2009",
    "Windows 2012",
    "Windows 2013",
    "Windows 2015",
    "Windows 2016",
    "Windows 2017",
    "Windows 2017.2",
    "Windows 2018",
    "Windows 2018.2",
    "Windows 2019",
    "Windows 2020",
    "Windows 2021",
    "Windows 2022",
    "Extended Address Space Descriptor",
    "Module Device",
    "Processor Device",
];

impl Run<'_> {
    /// The value of the next term.
    pub(crate) fn term(&mut self) -> Result<Val, Error> {
        match self.term_or_nothing() {
            Ok(Val::Uninit) => Err(ErrorKind::Uninitialized.into()),
            value => value,
        }
    }

    /// The value of the next term; [`Val::Uninit`] for a call of a method without a return value.
    ///
    /// Constants and variables are the most frequent terms and need nothing else, so that this has no stack frame.
    #[inline(never)]
    pub(crate) fn term_or_nothing(&mut self) -> Result<Val, Error> {
        let frame = self.frames.last_mut().ok_or_else(Error::truncated)?;
        let code = self.core.tables.code(frame.cursor.table);
        let mut cursor = frame.cursor;
        let first = cursor.byte(code)?;
        let value = match u16::from(first) {
            constant @ (op::ZERO | op::ONE) => Some(Val::Int(constant.into())),
            variable @ op::LOCAL0..=op::ARG6 => frame.vars.get(usize::from(slot_of(variable))).copied(),
            _ => None,
        };
        match value {
            Some(value) if value != Val::Uninit && self.leaf() => {
                self.frame()?.cursor = cursor;
                Ok(value)
            }
            _ => self.compound_term(first),
        }
    }

    /// The value of the next term, which starts with the byte `first`.
    #[inline(never)]
    fn compound_term(&mut self, first: u8) -> Result<Val, Error> {
        self.step(1)?;
        self.deeper(|run| {
            if is_name(first) {
                return run.named_term();
            }
            let (cursor, code) = run.cursor()?;
            let opcode = cursor.opcode(code)?;
            run.expression(opcode)
        })
    }

    /// The value of the term whose opcode has been read; it is none of those that start with a name.
    #[inline(always)]
    pub(crate) fn operation(&mut self, opcode: u16) -> Result<Val, Error> {
        self.step(1)?;
        self.deeper(|run| run.expression(opcode))
    }

    /// The next term as an integer.
    pub(crate) fn integer(&mut self) -> Result<u64, Error> {
        if let Some(value) = self.plain_integer() {
            return Ok(value);
        }
        match self.term() {
            Ok(Val::Int(value)) => Ok(value),
            value => self.to_integer(value?),
        }
    }

    /// The next term if it is a constant of up to 8 bits, or a variable that holds an integer: what most operands are.
    /// Anything else, and what the budget does not allow, is left to [`Run::term`].
    #[inline]
    pub(crate) fn plain_integer(&mut self) -> Option<u64> {
        let frame = self.frames.last_mut()?;
        let code = self.core.tables.code(frame.cursor.table);
        let mut cursor = frame.cursor;
        let opcode = cursor.byte(code).ok()?;
        let value = match u16::from(opcode) {
            constant @ (op::ZERO | op::ONE) => u64::from(constant),
            op::BYTE => cursor.byte(code).ok()?.into(),
            variable @ op::LOCAL0..=op::ARG6 => match frame.vars.get(usize::from(slot_of(variable)))? {
                Val::Int(value) => *value,
                _ => return None,
            },
            _ => return None,
        };
        if !self.leaf() {
            return None;
        }
        self.frame().ok()?.cursor = cursor;
        Some(value)
    }

    /// An integer of the tables' width.
    pub(crate) fn int(&self, value: u64) -> Val {
        Val::Int(value & self.core.width.mask())
    }

    /// Each expression has a function of its own, so that this has no stack frame.
    #[inline(never)]
    fn expression(&mut self, opcode: u16) -> Result<Val, Error> {
        match opcode {
            op::ONES => Ok(self.int(u64::MAX)),
            op::ZERO | op::ONE => Ok(Val::Int(opcode.into())),
            op::BYTE => self.constant(1),
            op::WORD => self.constant(2),
            op::DWORD => self.constant(4),
            op::QWORD => self.constant(8),
            op::STRING => self.string(),
            op::BUFFER => self.buffer(),
            op::PACKAGE | op::VAR_PACKAGE => self.package(opcode),
            op::REVISION => Ok(self.int(REVISION)),
            op::DEBUG => Ok(Val::Debug),
            op::STORE | op::COPY_OBJECT => self.store_term(opcode),
            op::ADD..=op::SUBTRACT
            | op::MULTIPLY..=op::FIND_SET_RIGHT_BIT
            | op::MOD
            | op::FROM_BCD
            | op::TO_BCD
                if opcode != op::CONCAT =>
            {
                self.arithmetic(opcode)
            }
            op::INCREMENT | op::DECREMENT => self.count(opcode),
            op::L_AND..=op::L_LESS => self.logic(opcode),
            op::LOCAL0..=op::ARG6 => Err(ErrorKind::Uninitialized.into()),
            op::REF_OF | op::COND_REF_OF | op::DEREF_OF | op::INDEX | op::OBJECT_TYPE | op::SIZE_OF => {
                self.reference_term(opcode)
            }
            op::CONCAT | op::CONCAT_RES | op::MID | op::TO_STRING => self.joining(opcode),
            op::MATCH => self.match_package(),
            op::TO_BUFFER | op::TO_DECIMAL_STRING | op::TO_HEX_STRING | op::TO_INTEGER => {
                self.conversion(opcode)
            }
            op::ACQUIRE | op::WAIT => self.blocking(opcode),
            op::TIMER => self.timer(),
            op::LOAD => Err(ErrorKind::Unsupported("Load").into()),
            op::LOAD_TABLE => Err(ErrorKind::Unsupported("LoadTable").into()),
            _ => Err(ErrorKind::BadOpcode(opcode).into()),
        }
    }

    /// AML's `True` (all bits of an integer set) or `False`.
    pub(crate) fn truth(&self, value: bool) -> u64 {
        if value { self.core.width.mask() } else { 0 }
    }

    #[inline(never)]
    fn timer(&mut self) -> Result<Val, Error> {
        let now = self.host.timer();
        Ok(self.int(now))
    }

    #[inline(never)]
    fn logic(&mut self, opcode: u16) -> Result<Val, Error> {
        let value = match opcode {
            op::L_AND | op::L_OR => {
                // Both operands are evaluated: AML has no short circuit.
                let (left, right) = (self.integer()? != 0, self.integer()? != 0);
                if opcode == op::L_AND { left && right } else { left || right }
            }
            op::L_NOT => self.integer()? == 0,
            _ => return self.comparison(opcode).map(Val::Int),
        };
        Ok(Val::Int(self.truth(value)))
    }

    /// A term that starts with a name: a call, or the named object's value.
    fn named_term(&mut self) -> Result<Val, Error> {
        let node = match self.named_before() {
            Some(node) => node,
            None => self.named_anew()?,
        };
        match *self.core.names.object(node)? {
            Object::Method(method) => {
                let args = self.arguments(method.arguments)?;
                self.call(node, method, args)
            }
            Object::Osi => {
                let [name, ..] = self.arguments(1)?;
                self.osi(name)
            }
            Object::Value(value) if value != Val::Uninit => Ok(value),
            Object::Field(unit) => self.read_unit(&unit),
            _ => self.value_of(node),
        }
    }

    /// The arguments of a call: objects are passed without copying them.
    #[inline(never)]
    pub(crate) fn arguments(&mut self, count: u8) -> Result<[Val; MAX_ARGS], Error> {
        let mut args = [Val::Uninit; MAX_ARGS];
        for arg in args.iter_mut().take(usize::from(count)) {
            *arg = self.term()?;
        }
        Ok(args)
    }

    /// The value of a named object: a field is read; an object without a value evaluates to itself.
    pub(crate) fn value_of(&mut self, node: Handle) -> Result<Val, Error> {
        match *self.core.names.object(node)? {
            Object::Value(Val::Uninit) => Err(ErrorKind::Uninitialized.into()),
            Object::Value(value) => Ok(value),
            Object::Field(_) => self.read_field(node),
            Object::BufferField(field) => self.read_buffer_field(field),
            _ => Ok(Val::Node(node)),
        }
    }

    /// `_OSI`: true for the names in [`INTERFACES`].
    pub(crate) fn osi(&mut self, name: Val) -> Result<Val, Error> {
        let Val::Data(id) = name else { return Err(self.wrong_type("a string", name)) };
        let Data::String(text) = self.core.heap.get(id)? else {
            return Err(self.wrong_type("a string", name));
        };
        let known = INTERFACES.iter().any(|interface| interface.as_bytes() == &**text);
        Ok(Val::Int(self.truth(known)))
    }

    #[inline(never)]
    fn store_term(&mut self, opcode: u16) -> Result<Val, Error> {
        let value = self.term()?;
        if opcode == op::STORE {
            let place = self.target()?;
            self.store(place, value)?;
        } else {
            let place = self.copy_target()?;
            self.copy_object(place, value)?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn count(&mut self, opcode: u16) -> Result<Val, Error> {
        let place = self.super_name(Calls::Yes)?;
        let value = self.load(place)?;
        let value = self.to_integer(value)?;
        let value = if opcode == op::INCREMENT { value.wrapping_add(1) } else { value.wrapping_sub(1) };
        self.store_wide(place, value)
    }

    #[inline(never)]
    fn conversion(&mut self, opcode: u16) -> Result<Val, Error> {
        let value = self.term()?;
        let value = match opcode {
            op::TO_BUFFER => self.as_buffer(value)?,
            op::TO_DECIMAL_STRING => self.as_text(value, Style::Decimal)?,
            op::TO_HEX_STRING => self.as_text(value, Style::Hex)?,
            _ => {
                let number = self.to_integer_explicitly(value)?;
                self.int(number)
            }
        };
        self.set_result(value)
    }

    /// Stores an operator's result in the target that follows its operands.
    pub(crate) fn store_result(&mut self, value: Val) -> Result<Val, Error> {
        let place = self.target()?;
        if place != StoreTarget::None {
            self.store(place, value)?;
        }
        Ok(value)
    }

    /// Stores the result of arithmetic, which is computed in 64 bits. Where integers have 32 bits (tables of revision 1), a
    /// field and an element of a package get all of it nevertheless, as in ACPICA, which cuts the result after the
    /// store. Real tables of revision 1 compute windows above 4 GiB so, into a QWord field of `_CRS`; by the letter
    /// (19.3.5) the high half would be lost, and a memory device there would get a wrong address.
    pub(crate) fn store_wide_result(&mut self, result: u64) -> Result<Val, Error> {
        let place = self.target()?;
        self.store_wide(place, result)
    }

    fn store_wide(&mut self, place: StoreTarget, result: u64) -> Result<Val, Error> {
        let keeps = match place {
            StoreTarget::Node(node) | StoreTarget::Ref(Ref::Node(node)) => {
                matches!(self.core.names.object(node)?, Object::Field(_) | Object::BufferField(_))
            }
            StoreTarget::Ref(Ref::Index(..)) => true,
            _ => false,
        };
        if place != StoreTarget::None {
            let value = if keeps { Val::Int(result) } else { self.int(result) };
            self.store(place, value)?;
        }
        Ok(self.int(result))
    }

    /// Like [`Run::store_result`], for explicit conversions: the target takes the result's type.
    pub(crate) fn set_result(&mut self, value: Val) -> Result<Val, Error> {
        let place = self.target()?;
        match place {
            StoreTarget::None => {}
            StoreTarget::Node(_) | StoreTarget::Ref(Ref::Node(_)) => match self.kind_of(place)? {
                // Only CopyObject replaces a package or an object without a value, as in ACPICA.
                Kind::Package
                | Kind::Device
                | Kind::Event
                | Kind::Mutex
                | Kind::Region
                | Kind::PowerResource
                | Kind::Processor
                | Kind::ThermalZone => self.store(place, value)?,
                _ => self.copy_object(place, value)?,
            },
            place => self.copy_object(place, value)?,
        }
        Ok(value)
    }

    #[inline(never)]
    fn reference_term(&mut self, opcode: u16) -> Result<Val, Error> {
        match opcode {
            op::REF_OF => {
                let place = self.super_name(Calls::No)?;
                self.reference_to(place)
            }
            op::COND_REF_OF => {
                let place = self.super_name_if_any()?;
                let target = self.target()?;
                let Some(place) = place else { return Ok(Val::Int(0)) };
                let reference = self.reference_to(place)?;
                self.store(target, reference)?;
                Ok(Val::Int(self.truth(true)))
            }
            op::DEREF_OF => {
                let value = self.term()?;
                match self.dereferenced(value)? {
                    // An element may be wider than integers are, see `store_wide_result`.
                    Val::Int(value) => Ok(self.int(value)),
                    value => Ok(value),
                }
            }
            op::INDEX => {
                let source = self.term()?;
                let index = self.integer()?;
                let element = self.element(source, index)?;
                self.store_result(element)
            }
            op::SIZE_OF => {
                let place = self.super_name(Calls::Yes)?;
                self.size_of(place)
            }
            _ => {
                let place = self.super_name(Calls::No)?;
                let kind = self.kind_of(place)?;
                Ok(Val::Int(kind.code()))
            }
        }
    }

    /// The result of RefOf.
    fn reference_to(&mut self, place: StoreTarget) -> Result<Val, Error> {
        let frame = self.frame()?.id;
        Ok(match place {
            StoreTarget::Node(node) => Val::Ref(Ref::Node(node)),
            StoreTarget::Var(slot) => Val::Ref(Ref::Var { frame, slot }),
            StoreTarget::Ref(reference) => Val::Ref(reference),
            StoreTarget::Debug => Val::Debug,
            StoreTarget::None | StoreTarget::Value(_) => {
                return Err(self.wrong_type("an object", Val::Uninit));
            }
        })
    }
}
