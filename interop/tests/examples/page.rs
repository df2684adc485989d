//! The header of an example: the doc comment at the top of its source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How to run an example, and its expected responses.
pub(crate) struct Page {
    pub(crate) name: String,
    /// The first shell block.
    pub(crate) run: Vec<Ask>,
    /// The other shell blocks. Empty if the example is not a server; its output then follows the command that runs it.
    pub(crate) asks: Vec<Ask>,
    pub(crate) has_tests: bool,
    /// The crates in its manifest lines.
    pub(crate) names: BTreeSet<String>,
    /// The first segments of all paths in its source files: crates, modules and types.
    pub(crate) uses: BTreeSet<String>,
}

/// A command, and the comment lines after it.
pub(crate) struct Ask {
    pub(crate) command: String,
    pub(crate) answer: Vec<String>,
}

impl Page {
    /// Returns the headers of all examples, including those of this package.
    pub(crate) fn all() -> Vec<Self> {
        let mut pages: Vec<Self> = ["../examples", "examples"]
            .into_iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                if !path.is_dir() {
                    return Self::read(name, &path);
                }
                let mut page = Self::read(name, &path.join("main.rs"));
                for entry in fs::read_dir(path).unwrap() {
                    page.uses.extend(uses(&fs::read_to_string(entry.unwrap().path()).unwrap()));
                }
                page
            })
            .collect();
        pages.sort_by(|one, other| one.name.cmp(&other.name));
        pages
    }

    fn read(name: String, file: &Path) -> Self {
        let source = fs::read_to_string(file).unwrap();
        let doc = source.lines().map_while(|line| line.strip_prefix("//!"));
        let manifest = doc.clone().skip_while(|line| *line != " ```toml");
        let manifest = manifest.skip(1).take_while(|line| *line != " ```");
        let names = manifest.filter_map(|line| line.split_once(" = "));
        let names = names.map(|(name, _)| name.trim().replace('-', "_")).collect();
        let (mut blocks, mut inside) = (Vec::<Vec<String>>::new(), false);
        for line in doc.map(|line| line.strip_prefix(' ').unwrap_or(line)) {
            match (line, blocks.last_mut().and_then(|block| block.last_mut())) {
                ("```sh", _) => {
                    blocks.push(Vec::new());
                    inside = true;
                }
                ("```", _) => inside = false,
                (_, Some(last)) if inside && last.ends_with('\\') => {
                    last.push('\n');
                    last.push_str(line);
                }
                _ if inside => blocks.last_mut().unwrap().push(line.to_owned()),
                _ => {}
            }
        }
        let mut blocks = blocks.into_iter();
        let run = asks(blocks.next().unwrap_or_default());
        let asks = asks(blocks.flatten());
        let answers = run.iter().chain(&asks).any(|ask| !ask.answer.is_empty());
        assert!(answers, "{name}: how is it run, and what does it answer?");
        let has_tests = source.contains("\n#[test]") || source.contains("#[tokio::test");
        Self { name, run, asks, has_tests, names, uses: uses(&source) }
    }

    /// Whether one of the commands contains a word.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        self.run.iter().chain(&self.asks).any(|ask| ask.command.contains(word))
    }
}

/// The first segments of the paths in a source.
fn uses(source: &str) -> BTreeSet<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut uses = BTreeSet::new();
    for line in code {
        for (end, _) in line.match_indices("::") {
            let before = &line[..end];
            let part_of_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let path = before.trim_end_matches(part_of_path).len();
            uses.extend((!before[path..].contains("::")).then(|| before[path..].to_owned()));
        }
    }
    uses
}

fn asks(lines: impl IntoIterator<Item = String>) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for line in lines {
        match line.strip_prefix('#') {
            Some(answer) => {
                let ask = asks.last_mut().expect("an answer stands under a command");
                ask.answer.push(answer.trim().to_owned());
            }
            None => asks.push(Ask { command: line, answer: Vec::new() }),
        }
    }
    asks
}
