//! How many values an input may have.

use std::cell::Cell;

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
}

impl Budget {
    /// At most `max` values, in a text of `length` bytes.
    pub(crate) fn new(max: usize, length: usize) -> Self {
        // The error of a field may contain a copy of its value, and that of a field inside of it another one: each struct around a text may
        // copy it once.
        let max_structs = (MAX_COPIED / length.max(1)).max(MIN_STRUCTS);
        Self { left: Cell::new(max), exceeded: Cell::new(false), max_structs }
    }

    /// Any number of values.
    pub(crate) fn unlimited() -> Self {
        let left = Cell::new(usize::MAX);
        Self { left, exceeded: Cell::new(false), max_structs: usize::MAX }
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
#[derive(Clone, Copy)]
pub(crate) struct Depth<'b> {
    budget: &'b Budget,
    structs: usize,
}

impl<'b> Depth<'b> {
    pub(crate) fn root(budget: &'b Budget) -> Self {
        Self { budget, structs: 0 }
    }

    #[cfg(feature = "json")]
    pub(crate) fn is_bounded(self) -> bool {
        self.budget.max_structs != usize::MAX
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
