//! Whether brackets in the names of a form or a query have a meaning.

/// Reads names with brackets in a form or a query as lists and objects, as axios, jQuery, PHP and Rails send them. Provide it to the extractors
/// after it: `Form`, `Query` and `Params`.
///
/// | pairs | data |
/// | --- | --- |
/// | `tags[]=a&tags[]=b` | `tags` is a list of two |
/// | `tags[0]=a&tags[1]=b` | the same, in the order of the indexes. A gap between indexes is closed |
/// | `tags=a&tags=b` | the same |
/// | `address[city]=x` | `address` is a struct or a map |
/// | `items[0][sku]=x&items[1][sku]=y` | `items` is a list of structs |
/// | `items[][sku]=x&items[][n]=1&items[][sku]=y` | the same. A name that the current struct already has begins the next struct |
/// | `shape[circle][r]=1` | `shape` is the variant `circle` of an enum |
///
/// Names are decoded before they are read: `tags%5B%5D` is `tags[]`.
///
/// Refused, with the field in `errors`: a value that is given both with and without brackets (`a=1&a[b]=2`), a list with both forms of items
/// (`a[]=1&a[0]=2`), brackets that do not match (`a[b`), and more than the limits. The number of pairs is bounded by
/// [`InvalidInput::max_values`](crate::extract::InvalidInput::max_values), and so are, if the data is validated, the fields of all structs.
///
/// Pointers in `errors` have the names and indexes that the client sent: the field `items[7][sku]` is `/items/7/sku`, also if there are gaps before it.
///
/// # Without it
///
/// Brackets are a part of the name then, as in `#[serde(rename = "tags[]")]`. A name in brackets that would be ignored although the type has the
/// field, such as `tags[]` for the field `tags`, is refused with the code `brackets`, because the list would be empty. Use
/// [`literal`](Self::literal) to ignore such names.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::extract::BracketSyntax;
/// use tower_chain::{Chain, Form};
///
/// #[derive(Deserialize)]
/// struct Order {
///     items: Vec<Item>,
/// }
///
/// #[derive(Deserialize)]
/// struct Item {
///     sku: String,
///     count: u32,
/// }
///
/// let chain = Chain::new()
///     .provide(BracketSyntax::new())
///     .post(async |Form(order): Form<Order>| order.items.len().to_string());
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BracketSyntax {
    max_depth: usize,
    max_index: usize,
    is_literal: bool,
}

impl BracketSyntax {
    /// Brackets are lists and objects.
    pub fn new() -> Self {
        Self { max_depth: 5, max_index: 999, is_literal: false }
    }

    /// Brackets are a part of the name, and other names than those of the type are ignored.
    pub fn literal() -> Self {
        Self { is_literal: true, ..Self::new() }
    }

    /// At most this many pairs of brackets in a name. Defaults to 5, and is at most 32.
    #[must_use]
    pub fn max_depth(mut self, brackets: usize) -> Self {
        self.max_depth = brackets.min(32);
        self
    }

    /// The largest index of an item. Defaults to 999.
    #[must_use]
    pub fn max_index(mut self, index: usize) -> Self {
        self.max_index = index;
        self
    }

    pub(crate) fn depth(self) -> usize {
        self.max_depth
    }

    pub(crate) fn index(self) -> usize {
        self.max_index
    }

    pub(crate) fn is_literal(self) -> bool {
        self.is_literal
    }
}

impl Default for BracketSyntax {
    fn default() -> Self {
        Self::new()
    }
}
