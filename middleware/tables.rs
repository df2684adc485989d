//! Tables of input and exact answer, one row a line.

/// The rows of a table. Its first lines begin with `# `; columns are split by tabs; `\t`, `\n`, `\r` and `\\` stand for themselves.
pub(crate) fn rows<const COLUMNS: usize>(table: &str) -> Vec<[String; COLUMNS]> {
    let lines = table.split('\n').filter(|line| !line.is_empty() && !line.starts_with("# "));
    let rows: Vec<_> = lines
        .map(|line| {
            let columns: Vec<String> = line.split('\t').map(plain).collect();
            columns.try_into().unwrap_or_else(|_| panic!("not {COLUMNS} columns: {line}"))
        })
        .collect();
    assert!(rows.len() > 1000, "the table is not read");
    rows
}

fn plain(column: &str) -> String {
    let mut text = String::new();
    let mut rest = column.chars();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.next() } else { None };
        text.push(match escaped {
            None => c,
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some(other) => other,
        });
    }
    text
}
