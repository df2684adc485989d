//! How many values an input may have.

use std::cell::{Cell, RefCell};
use std::ptr;

use serde_core::de;

/// Counts the values of an input while it is parsed, and lets the parser fail at the first one that is too many.
///
/// The length of a body does not bound what its validation takes: the two bytes `{}` become a whole struct, and each of its fields that breaks
/// a rule an error of about 1 KiB. So values are counted: each field of a struct, whether it was sent or not, and each item of a list or map.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<usize>,
    exceeded: Cell<bool>,
    max_structs: usize,
    trace: Option<RefCell<Trace>>,
}

/// What the parser saw of the type.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The names of the fields of each type of struct that was read, however many structs of it there were.
    pub(crate) declared: Vec<&'static [&'static str]>,
    /// For each level around the value that failed, from the inside to the outside: whether the type declares the name of the member.
    pub(crate) levels: Vec<bool>,
}

impl Budget {
    /// At most `max` values, in a text of `length` bytes.
    pub(crate) fn new(max: usize, length: usize) -> Self {
        // The error of a field may contain a copy of its value, and that of a field inside of it another one: each struct around a text may
        // copy it once.
        let max_structs = (MAX_COPIED / length.max(1)).max(MIN_STRUCTS);
        Self { max_structs, ..Self::counted(max) }
    }

    /// At most `max` values, of which no validation engine makes copies.
    pub(crate) fn counted(max: usize) -> Self {
        let left = Cell::new(max);
        Self { left, exceeded: Cell::new(false), max_structs: usize::MAX, trace: None }
    }

    /// Any number of values.
    pub(crate) fn unlimited() -> Self {
        Self::counted(usize::MAX)
    }

    /// Any number of values, with a trace.
    pub(crate) fn traced() -> Self {
        Self { trace: Some(RefCell::default()), ..Self::unlimited() }
    }

    /// The trace, unless none was kept.
    pub(crate) fn into_trace(self) -> Trace {
        self.trace.map(RefCell::into_inner).unwrap_or_default()
    }

    /// Whether the parser failed for this reason, or would have: a type may catch the error of a field.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    #[cold]
    fn exceed<E: de::Error>(&self) -> E {
        self.exceeded.set(true);
        self.left.set(0);
        E::custom("too many values")
    }
}

/// How many structs there are around a value, and the budget that it counts against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth<'b> {
    budget: &'b Budget,
    structs: usize,
}

impl<'b> Depth<'b> {
    pub(crate) fn root(budget: &'b Budget) -> Self {
        Self { budget, structs: 0 }
    }

    /// Whether it matters that an object is a struct whose fields are not known.
    pub(crate) fn is_bounded(self) -> bool {
        self.budget.max_structs != usize::MAX || self.budget.trace.is_some()
    }

    /// Notes the names of a struct's fields, if a trace is kept.
    #[inline]
    pub(crate) fn declare(self, fields: &'static [&'static str]) {
        if let Some(trace) = &self.budget.trace {
            let declared = &mut trace.borrow_mut().declared;
            // There are few types. The structs of a list have the type of the one before, or of one shortly before.
            if !declared.iter().rev().any(|known| ptr::eq(*known, fields)) {
                declared.push(fields);
            }
        }
    }

    /// Notes that a value failed inside a member or an item.
    #[cold]
    pub(crate) fn failed_inside(self, is_declared: bool) {
        if let Some(trace) = &self.budget.trace {
            trace.borrow_mut().levels.push(is_declared);
        }
    }

    /// The depth of the fields of a struct that is here.
    #[inline]
    pub(crate) fn inside_struct<E: de::Error>(self) -> Result<Self, E> {
        let structs = self.structs + 1;
        match structs <= self.budget.max_structs {
            true => Ok(Self { structs, ..self }),
            false => Err(self.budget.exceed()),
        }
    }

    /// Counts so many values. A value inside of two or more structs counts once for each of them, because it may be copied with each.
    #[inline]
    pub(crate) fn spend<E: de::Error>(self, values: usize) -> Result<(), E> {
        match self.budget.left.get().checked_sub(values.saturating_mul(self.structs.max(1))) {
            Some(left) => {
                self.budget.left.set(left);
                Ok(())
            }
            None => Err(self.budget.exceed()),
        }
    }
}

const MAX_COPIED: usize = 16 * 1024 * 1024;
const MIN_STRUCTS: usize = 16;
