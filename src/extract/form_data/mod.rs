//! `application/x-www-form-urlencoded`, the format of forms and queries.

mod names;
pub(crate) mod reader;
#[cfg(test)]
#[cfg(all(feature = "form", feature = "query"))]
mod tests;

use http::StatusCode;
use percent_encoding::percent_decode;
use serde_core::de::DeserializeOwned;
use serde_path_to_error::Segment;

use self::names::{Ignored, RootNames};
use self::reader::{NameError, Pair, Problem, ReadError, Reader};
use crate::Error;
use crate::extract::budget::{Budget, Depth};
use crate::extract::failure::{BUFFERED, field_error};
use crate::extract::field_error::push_step;
use crate::extract::fields::document::Tree;
use crate::extract::objects::Objects;
use crate::extract::{BracketSyntax, Document, FieldError, Location, RawInput};

/// Parses pairs of names and values (URL standard, 5.1).
///
/// A name may be repeated if the field is a list. An empty value is `None` if the field is optional and not a text.
///
/// Only what depends on `T` is in this function: it is compiled for each type.
pub(crate) fn parse<T: DeserializeOwned>(
    location: Location,
    status: StatusCode,
    source: &RawInput,
) -> Result<T, Error> {
    let form = Form::new(location, status, source)?;
    // For most input the reader below is not needed. It reads what this one does, with more types.
    if form.is_plain
        && let Ok(data) = serde_html_form::from_bytes(source.bytes())
    {
        return Ok(data);
    }
    let pairs = form.pairs(names::at_root::<T>)?;
    let (items, budget) = (reader::items(&pairs), form.budget());
    let reader = Reader::root(&items, form.syntax, Depth::root(&budget));
    match T::deserialize(reader) {
        Ok(data) if !budget.is_exceeded() => Ok(data),
        result => {
            let type_of_data = std::any::type_name::<T>();
            Err(form.refuse(result.err(), &budget, reader, type_of_data, path_of_error::<T>))
        }
    }
}

/// An input, and how it is read.
struct Form<'s> {
    location: Location,
    status: StatusCode,
    source: &'s RawInput,
    /// `None` if brackets have no meaning.
    syntax: Option<BracketSyntax>,
    has_brackets: bool,
    /// Whether `serde_html_form` reads it as this module does.
    is_plain: bool,
}

impl<'s> Form<'s> {
    /// Checks the text as a whole.
    fn new(location: Location, status: StatusCode, source: &'s RawInput) -> Result<Self, Error> {
        let text = source.bytes();
        let max = source.value_limit();
        // Each pair takes at least one byte, so a short text can't have too many.
        if text.len() >= max && text.iter().filter(|byte| **byte == b'&').count() >= max {
            return Err(source.too_many_values());
        }
        if !is_utf8(text) {
            let text = match location {
                Location::Query => "The query is not UTF-8",
                _ => "The form is not UTF-8",
            };
            return Err(source.translated(Error::new(StatusCode::BAD_REQUEST, text)));
        }
        let Marks { has_brackets, has_odd_numbers } = Marks::of(text);
        let syntax = source.bracket_syntax().filter(|syntax| !syntax.is_literal());
        let is_plain = syntax.is_none() && !has_brackets && !has_odd_numbers;
        Ok(Self { location, status, source, syntax, has_brackets, is_plain })
    }

    /// The pairs, after a check of their names. `at_root` returns the names that the type has at its root.
    fn pairs(&self, at_root: fn() -> Option<RootNames>) -> Result<Vec<Pair<'s>>, Error> {
        let pairs = reader::pairs(self.source.bytes());
        let checked = match self.syntax {
            Some(syntax) => check_names(self.location, &pairs, syntax),
            None if self.source.bracket_syntax().is_none() && self.has_brackets => {
                check_ignored(self.location, &pairs, at_root)
            }
            None => Ok(()),
        };
        checked.map(|()| pairs).map_err(|error| self.wrong(error))
    }

    fn budget(&self) -> Budget {
        match self.source.max_values() {
            Some(max) if self.syntax.is_some() => Budget::new(max, self.source.bytes().len()),
            _ => Budget::unlimited(),
        }
    }

    /// The refusal of an input that could not be read, or has too many values.
    #[cold]
    fn refuse(
        &self,
        error: Option<ReadError>,
        budget: &Budget,
        reader: Reader<'_, '_, '_>,
        type_of_data: &str,
        path_of_error: PathOfError,
    ) -> Error {
        match error {
            Some(error) if !budget.is_exceeded() => match error.problem {
                Some(Problem::Buffered) => Error::internal(format!("{type_of_data}: {BUFFERED}")),
                _ => self.wrong(explain(self.source, self.location, reader, path_of_error)),
            },
            _ => self.source.too_many_values(),
        }
    }

    fn wrong(&self, error: FieldError) -> Error {
        self.source.refuse(self.status, wrong_form(self.location), vec![error])
    }
}

/// Reads the pairs again, and returns the error with its path.
type PathOfError = fn(Reader<'_, '_, '_>, &Budget) -> Option<serde_path_to_error::Error<ReadError>>;

fn path_of_error<T: DeserializeOwned>(
    reader: Reader<'_, '_, '_>,
    budget: &Budget,
) -> Option<serde_path_to_error::Error<ReadError>> {
    serde_path_to_error::deserialize::<_, T>(Objects::new(reader, budget)).err()
}

/// The pairs as a tree, after they were refused. `None` if a name has brackets that do not match, or too many of them.
pub(crate) fn document<T: DeserializeOwned>(source: &RawInput) -> Option<Document<'_>> {
    if source.is_made() {
        return Some(Document::made::<T>());
    }
    let text = source.bytes();
    let syntax = source.bracket_syntax().filter(|syntax| !syntax.is_literal());
    if !is_utf8(text) {
        return None;
    }
    let mut document = Document::form_with(text, source.value_limit(), syntax)?;
    let (budget, unlimited) = (Budget::traced(), Budget::unlimited());
    let pairs = reader::pairs(text);
    let items = reader::items(&pairs);
    let reader = Reader::root(&items, syntax, Depth::root(&unlimited));
    let _ = T::deserialize(Objects::new(reader, &budget));
    document.declared = budget.into_trace().declared;
    Some(document)
}

/// All names and values, decoded.
#[cfg(feature = "form")]
pub(crate) fn texts(text: &[u8]) -> Vec<(String, String)> {
    let pairs = reader::pairs(text).into_iter();
    pairs.map(|pair| (pair.name.to_string(), pair.text().into_owned())).collect()
}

/// The JSON Pointer of the field that has this name in a form.
#[cfg(feature = "form")]
pub(crate) fn pointer(name: &str) -> String {
    let mut pointer = String::new();
    if !name.is_empty() {
        let name = name.strip_suffix("[]").unwrap_or(name);
        let (base, rest) = name.split_at(name.find('[').unwrap_or(name.len()));
        push_step(&mut pointer, base);
        for step in rest.split_terminator(']').filter_map(|step| step.strip_prefix('[')) {
            push_step(&mut pointer, step);
        }
    }
    pointer
}

fn check_names(
    location: Location,
    pairs: &[Pair<'_>],
    syntax: BracketSyntax,
) -> Result<(), FieldError> {
    let error = |error| match error {
        NameError::Unmatched => {
            FieldError::new(location, "brackets", "A name has brackets that do not match")
        }
        NameError::TooDeep => FieldError::new(location, "depth", "A name has too many brackets")
            .with_param("max", syntax.depth().to_string()),
    };
    pairs.iter().try_for_each(|pair| reader::check(&pair.name, syntax)).map_err(error)
}

/// Refuses a list that was sent in brackets, which would be empty.
fn check_ignored(
    location: Location,
    pairs: &[Pair<'_>],
    at_root: fn() -> Option<RootNames>,
) -> Result<(), FieldError> {
    let mut names = pairs.iter().map(|pair| &*pair.name).filter(|name| name.ends_with(']'));
    // Few forms have such a name.
    let Some(first) = names.next() else { return Ok(()) };
    let detail = "Is sent with brackets in its name, which are not supported here: \
        for a list, repeat the name without brackets";
    let error = FieldError::new(location, "brackets", detail);
    let Some(known) = at_root() else { return Ok(()) };
    let (error, field) = match names::ignored(known, std::iter::once(first).chain(names)) {
        None => return Ok(()),
        Some(Ignored::Field(field)) => (error.at(field), field),
        Some(Ignored::Unknown) => (error, ""),
    };
    tracing::warn!(
        field,
        "refused a form or query with brackets in a name: to read them as lists and objects, provide BracketSyntax::new(); \
        to ignore them, BracketSyntax::literal()"
    );
    Err(error)
}

/// Reads the pairs again to find out where this fails.
#[cold]
fn explain(
    source: &RawInput,
    location: Location,
    reader: Reader<'_, '_, '_>,
    path_of_error: PathOfError,
) -> FieldError {
    let budget = Budget::traced();
    let Some(found) = path_of_error(reader, &budget) else {
        return FieldError::new(location, "invalid", "Is not valid");
    };
    let trace = budget.into_trace();
    let error: &ReadError = found.inner();
    let mut shown = field_error(source, location, found.path(), &trace, &error.to_string());
    let syntax = source.bracket_syntax().filter(|syntax| !syntax.is_literal());
    if syntax.is_some()
        && let Some(document) = Document::form_with(source.bytes(), source.value_limit(), syntax)
    {
        let pointer = as_written(shown.pointer(), &document.tree);
        shown = shown.with_pointer(pointer);
    }
    match error.problem {
        Some(problem) => {
            let (code, detail) = problem.code_and_detail();
            let mut pointer = shown.pointer().to_owned();
            // These problems are found in members that no type reads as well. The client has chosen their names.
            if let Some(Segment::Map { key }) = found.path().iter().next_back()
                && !trace.declared.iter().any(|fields| fields.contains(&key.as_str()))
                && let Some(end) = pointer.rfind('/')
            {
                pointer.truncate(end);
                push_step(&mut pointer, source.key(key));
            }
            let error = FieldError::new(location, code, detail).with_pointer(pointer);
            match source.bracket_syntax() {
                Some(syntax) if problem == Problem::Index => {
                    error.with_param("max", syntax.index().to_string())
                }
                _ => error,
            }
        }
        None => shown,
    }
}

/// A pointer with the indexes of items as the client wrote them: the data has no gaps between them.
fn as_written(pointer: &str, tree: &Tree<'_>) -> String {
    let (mut written, mut here) = (String::new(), Some(tree));
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        let list = here.filter(|tree| tree.is_list()).zip(name.parse::<usize>().ok());
        match list {
            Some((list, index)) => {
                push_step(&mut written, &list.written_index(index));
                here = list.item(index);
            }
            None => {
                push_step(&mut written, &name);
                here = here.and_then(|tree| tree.member(&name));
            }
        }
    }
    written
}

fn wrong_form(location: Location) -> &'static str {
    match location {
        Location::Query => "The query does not have the expected form",
        _ => "The body does not have the expected form",
    }
}

/// What the text may contain, found without parsing it.
struct Marks {
    /// A name with a closing bracket.
    has_brackets: bool,
    /// A value that Rust parses as a number which is not finite, or not finite as an `f32`: `NaN`, `1e39`, or many digits.
    has_odd_numbers: bool,
}

impl Marks {
    fn of(text: &[u8]) -> Self {
        let mut marks = Self { has_brackets: false, has_odd_numbers: false };
        let mut digits = 0;
        let mut before = [0; 3];
        for byte in text {
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            match (before, *byte) {
                (_, b']') | ([_, b'%', b'5'], b'd' | b'D') => marks.has_brackets = true,
                // The second digit of an encoded character is not one of a number: `ann%40example.org`.
                ([b'%', ..], b'e' | b'E') => {}
                ([_, b'=' | b'+' | b'-', b'n' | b'N'], b'a' | b'A' | b'%')
                | ([_, b'=' | b'+' | b'-', b'i' | b'I'], b'n' | b'N' | b'%')
                | ([.., b'0'..=b'9' | b'.'], b'e' | b'E')
                // The first character of a number that is encoded: a sign, a digit, a point or a letter.
                | (
                    [_, b'=' | b'+' | b'-' | b'.' | b'0'..=b'9', b'%'],
                    b'2' | b'3' | b'4' | b'6',
                ) => {
                    marks.has_odd_numbers = true;
                }
                _ => {}
            }
            marks.has_odd_numbers |= digits == LONGEST_F32;
            before = [before[1], before[2], *byte];
        }
        marks
    }
}

/// The largest `f32` has this many digits.
const LONGEST_F32: usize = 39;

/// Whether the decoded pairs are UTF-8.
fn is_utf8(pairs: &[u8]) -> bool {
    // `%80` and above are not ASCII.
    let encoded = |at: &[u8]| at[0] == b'%' && at[1].is_ascii_hexdigit() && at[1] > b'7';
    if pairs.is_ascii() && !pairs.windows(2).any(encoded) {
        return true;
    }
    let mut piece = [0; 64];
    let mut length = 0;
    for byte in percent_decode(pairs) {
        piece[length] = byte;
        length += 1;
        if length == piece.len() {
            length = match str::from_utf8(&piece) {
                Ok(_) => 0,
                // The rest of the character is in the next piece.
                Err(error) if error.error_len().is_none() => {
                    piece.copy_within(error.valid_up_to().., 0);
                    length - error.valid_up_to()
                }
                Err(_) => return false,
            };
        }
    }
    str::from_utf8(&piece[..length]).is_ok()
}
