//! The pairs of a form below one value, where names have brackets.

use std::borrow::Cow;
use std::fmt;

use crate::extract::BracketSyntax;
use crate::extract::budget::{Budget, Depth};
use crate::extract::form_data::reader::{Item, Level, Problem, Reader, is_index};

/// The values inside a value, by the next part of their names.
///
/// Whether they are a list or an object depends on the type: `prices[1]=2` is an item of a list, or the member `1` of a map.
#[doc(hidden)]
#[derive(Clone)]
pub struct Named<'a, T> {
    /// In the order of their indexes, or else of their first pairs.
    inside: Inside<'a, T>,
    parts: Parts,
}

type Inside<'a, T> = Vec<(Cow<'a, str>, T)>;

/// A value of a form with brackets.
pub(crate) enum NamedValue<'a, T> {
    /// The pairs of a text. There are several if the name is repeated.
    Text(Cow<'a, [u8]>),
    Inside(Named<'a, T>),
}

/// Makes the type of the tree from a value.
type Make<'a, T> = fn(NamedValue<'a, T>) -> T;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// `[]`: a list.
    Empty,
    /// `[0]`, `[1]`: a list or an object.
    Indexes,
    /// Indexes, one of which is too large for a list.
    LargeIndexes,
    /// `[a]`: an object.
    Names,
    /// `[]` and others: neither.
    Mixed,
    /// The value is also given as a text.
    Conflict,
}

/// The brackets that are left of a name, and the encoded value with its `=`.
type NamedPair<'a> = (Box<str>, &'a [u8]);

impl<'a, T> Named<'a, T> {
    /// The members of the whole input. Its names must have been checked.
    pub(crate) fn root(
        pairs: impl Iterator<Item = (Cow<'a, str>, &'a [u8])>,
        syntax: BracketSyntax,
        make: Make<'a, T>,
    ) -> Vec<(Cow<'a, str>, T)> {
        let pairs: Vec<NamedPair<'a>> = pairs.map(|(name, value)| (name.into(), value)).collect();
        let (items, budget) = (items(&pairs), Budget::unlimited());
        let level = Reader::root(&items, Some(syntax), Depth::root(&budget)).members();
        inside(&pairs, &level, syntax, make)
    }

    /// A value with these pairs: a text, if nothing is left of their names.
    fn value(
        pairs: Vec<NamedPair<'a>>,
        syntax: BracketSyntax,
        make: Make<'a, T>,
    ) -> NamedValue<'a, T> {
        let texts = pairs.iter().filter(|(rest, _)| rest.is_empty()).count();
        match &*pairs {
            [(_, text)] if texts == 1 => return NamedValue::Text(Cow::Borrowed(*text)),
            _ if texts == pairs.len() => {
                let values: Vec<&[u8]> = pairs.iter().map(|(_, value)| *value).collect();
                return NamedValue::Text(values.join(&b'&').into());
            }
            _ if texts > 0 => {
                return NamedValue::Inside(Self { inside: Vec::new(), parts: Parts::Conflict });
            }
            _ => {}
        }
        let (items, budget) = (items(&pairs), Budget::unlimited());
        let reader = Reader::value(&items, Some(syntax), Depth::root(&budget));
        let mut level = reader.members();
        let parts = match level.iter().filter(|(part, _)| part.is_empty()).count() {
            0 if level.iter().all(|(part, _)| is_index(part)) => Parts::Indexes,
            0 => Parts::Names,
            1 if level.iter().count() == 1 => Parts::Empty,
            _ => Parts::Mixed,
        };
        let parts = match (parts, reader.list()) {
            (Parts::Empty | Parts::Indexes, Ok(list)) => {
                level = list;
                parts
            }
            (Parts::Indexes, Err(_)) => Parts::LargeIndexes,
            (parts, _) => parts,
        };
        NamedValue::Inside(Self { inside: inside(&pairs, &level, syntax, make), parts })
    }

    /// Whether the value is given both as a text and as a list or object.
    pub(crate) fn is_conflict(&self) -> bool {
        self.parts == Parts::Conflict
    }

    /// Whether a reader that does not know the type takes the value for a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.parts, Parts::Empty | Parts::Indexes | Parts::LargeIndexes)
    }

    /// The members. `None` if the value is not an object.
    pub(crate) fn members(&self) -> Option<&Inside<'a, T>> {
        match self.parts {
            Parts::Indexes | Parts::LargeIndexes | Parts::Names => Some(&self.inside),
            Parts::Empty | Parts::Mixed | Parts::Conflict => None,
        }
    }

    pub(crate) fn members_mut(&mut self) -> Option<&mut Inside<'a, T>> {
        self.members()?;
        Some(&mut self.inside)
    }

    /// The number of items, or why the value is not a list.
    pub(crate) fn item_count(&self) -> Result<usize, Problem> {
        match self.parts {
            Parts::Empty | Parts::Indexes => Ok(self.inside.len()),
            Parts::LargeIndexes => Err(Problem::Index),
            Parts::Names | Parts::Mixed => Err(Problem::List),
            Parts::Conflict => Err(Problem::Conflict),
        }
    }

    pub(crate) fn item(&self, index: usize) -> Option<&T> {
        self.item_count().ok()?;
        self.inside.get(index).map(|(_, tree)| tree)
    }

    pub(crate) fn item_mut(&mut self, index: usize) -> Option<&mut T> {
        self.item_count().ok()?;
        self.inside.get_mut(index).map(|(_, tree)| tree)
    }

    /// The index of an item as the client wrote it, if it wrote one.
    pub(crate) fn written_index(&self, index: usize) -> Option<&str> {
        let written = self.inside.get(index).map(|(part, _)| &**part);
        written.filter(|_| self.parts == Parts::Indexes)
    }
}

/// Leaves out the submitted data.
impl<T> fmt::Debug for Named<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Named")
    }
}

fn items<'p>(pairs: &'p [NamedPair<'_>]) -> Vec<Item<'p, 'p>> {
    let items = pairs.iter().enumerate().map(|(at, (rest, value))| Item::new(rest, value, at));
    items.collect()
}

/// The values of a level, each with the parts that are left of its names.
fn inside<'a, T>(
    pairs: &[NamedPair<'a>],
    level: &Level<'_, '_>,
    syntax: BracketSyntax,
    make: Make<'a, T>,
) -> Inside<'a, T> {
    let value = |item: &Item<'_, '_>| Some((item.rest.into(), pairs.get(item.at)?.1));
    let values = level.iter().map(|(part, items)| {
        let pairs = items.iter().filter_map(value).collect();
        (part.to_owned().into(), make(Named::value(pairs, syntax, make)))
    });
    values.collect()
}
