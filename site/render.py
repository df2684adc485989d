"""Renders the documentation as static HTML: `render.py FOLDER`. Fails if a link between pages is broken, or a built-in has no page.

The text is that of the crate: the README, the pages of the guide, the docs of the modules, the reports. Nothing is written here but the
list of pages. Pages have no scripts, and load nothing from other hosts.
"""

import dataclasses
import html
import os
import pathlib
import re
import shutil
import sys
import tomllib

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = "https://docs.rs/tower-chain/latest/tower_chain/"
MANIFEST = tomllib.loads((ROOT / "Cargo.toml").read_text())
REPOSITORY = MANIFEST["workspace"]["package"]["repository"]

# Modules of the core with a page beside those of the middleware.
CORE = ["audit", "declare", "extract", "overhead", "respond", "serve", "test_util"]
# Words of the names of modules that are not written in lower case.
NAMES = {"etag": "ETag", "express": "Express", "garde": "garde", "grpc": "gRPC", "hono": "Hono", "jwt": "JWT", "koa": "Koa", "next": "next-connect"}
REPORTS = [
    ("benches/RESULTS.md", "results", "Measurements"),
    ("benches/peers/README.md", "peers", "How peers are compared"),
    ("benches/peers-limits/RESULTS.md", "limits", "Rate limiters compared"),
    ("benches/TRIED.md", "tried", "What did not help"),
    ("soak/RESULTS.md", "soak", "Fuzzing and soak"),
]
PROJECT = [
    ("CHANGELOG.md", "changelog", "Changelog"),
    ("CONTRIBUTING.md", "contributing", "Contributing"),
    ("SECURITY.md", "security_policy", "Security policy"),
]


@dataclasses.dataclass
class Page:
    """One page: its file in the site, its title in the list of pages, the text, and the file that the text comes from."""

    target: str
    title: str
    text: str
    source: pathlib.Path
    api: str | None = None


def doc_comment(path):
    """The docs at the head of a file."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("//!")]
    return "\n".join(line.removeprefix("//!").removeprefix(" ") for line in lines)


def item_docs(path):
    """Each public struct or trait of a file with the docs in front of it."""
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("///"):
            lines.append(line.removeprefix("///").removeprefix(" "))
        elif found := re.match(r"pub (struct|trait|enum) (\w+)", line):
            if lines:
                yield found[1], found[2], "\n".join(lines)
            lines = []
        elif line and not re.match(r"[#)\]\s]", line):
            lines = []


def module(folder, name):
    path = ROOT / folder / f"{name}.rs"
    return path if path.exists() else ROOT / folder / name / "mod.rs"


def pages():
    """The groups of the list of pages."""
    guide_order = re.findall(r"^//! \| (.*?) \|", (ROOT / "src/guide/mod.rs").read_text(), re.M)
    ordered = [name for row in guide_order for name in re.findall(r"\[`(\w+)`\]", row)]
    found = {path.stem for path in (ROOT / "src/guide").glob("*.md")}
    if set(ordered) != found:
        sys.exit(f"The table of src/guide/mod.rs lacks or invents pages: {set(ordered) ^ found}")

    def title(name):
        words = [NAMES.get(word, word) for word in name.split("_") if word != "connect"]
        first = words[0].capitalize() if words[0] not in NAMES.values() else words[0]
        return " ".join([first, *words[1:]])

    guide = [Page(f"guide/{name}.html", title(name), (path := ROOT / f"src/guide/{name}.md").read_text(), path, f"guide/{name}/") for name in ordered]

    names = re.findall(r"^pub mod (\w+);", (ROOT / "middleware/mod.rs").read_text(), re.M)
    steps = []
    for name in names:
        path = module("middleware", name)
        steps.append(Page(f"steps/{name}.html", title(name), doc_comment(path), path, f"middleware/{name}/"))

    exported = re.findall(r"^pub use self::(\w+)::(\{[^}]*\}|\w+);", (ROOT / "src/extract/mod.rs").read_text(), re.M)
    extractors = []
    for file, items in exported:
        wanted = set(re.findall(r"\w+", items))
        for path in [module("src/extract", file), *sorted((ROOT / "src/extract" / file).glob("*.rs"))]:
            for kind, name, docs in item_docs(path) if path.exists() else []:
                if name in wanted and "# Example" in docs:
                    wanted.discard(name)
                    extractors.append(Page(f"extractors/{name}.html", name, docs, path, f"extract/{kind}.{name}.html"))
    extractors.sort(key=lambda page: page.title)

    core = []
    for name in CORE:
        path = module("src", name)
        core.append(Page(f"core/{name}.html", title(name), doc_comment(path), path, f"{name}/"))

    files = lambda rows, folder: [Page(f"{folder}/{stem}.html", label, (ROOT / name).read_text(), ROOT / name) for name, stem, label in rows if (ROOT / name).exists()]
    return {
        "Guide": guide,
        "Steps": steps,
        "Extractors": extractors,
        "Core": core,
        "Reports": files(REPORTS, "reports"),
        "Project": files(PROJECT, "project"),
    }


def code(text, info, _attributes):
    """Highlights code. Hides the lines that rustdoc hides."""
    language = re.split(r"[,\s]", info)[0] if info else "rust"
    if language in {"no_run", "compile_fail", "ignore", "should_panic", "test_harness"}:
        language = "rust"
    if language == "rust":
        text = "".join(re.sub(r"^##", "#", line) for line in text.splitlines(True) if not re.match(r"\s*# |\s*#$", line))
    try:
        lexer = get_lexer_by_name(language, stripnl=True)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return f'<pre><code>{highlight(text, lexer, HtmlFormatter(nowrap=True))}</code></pre>'


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.groups = {"": [Page("index.html", "Overview", (ROOT / "README.md").read_text(), ROOT / "README.md", "")]} | pages()
        self.all = [page for group in self.groups.values() for page in group]
        # Where a file or a module of the project is on the site.
        self.by_source = {page.source: page.target for page in self.all if not page.target.startswith("extractors/")}
        self.by_path = {page.api.rstrip("/").replace("/", "::"): page.target for page in self.all if page.api and page.api.endswith("/")}
        self.by_path |= {f"extract::{page.title}": page.target for page in self.groups["Extractors"]}
        self.by_path |= {page.title: page.target for page in self.groups["Extractors"]}
        self.copied = set()

    def link(self, page, target):
        """The address of a link, from a page."""
        if re.match(r"[a-z]+:|#", target):
            on_site = re.match(re.escape(DOCS) + r"([\w/]+)/$", target)
            found = on_site and self.by_path.get(on_site[1].replace("/", "::"))
            return self.relative(page, found) if found else target
        if "::" in target or re.fullmatch(r"(?:\w+@)?[A-Za-z_]\w*(?:\(\)|!)?", target):
            path = re.sub(r"^\w+@|\(\)$|!$", "", target)
            path = re.sub(r"^(crate|tower_chain|super|self|Self)(::|$)", "", path)
            if path.replace("_", "-") in MANIFEST["dependencies"]:
                return f"https://docs.rs/{path}"
            found = self.by_path.get(path) or self.by_path.get(f"guide::{path}" if page.target.startswith("guide/") else "")
            return self.relative(page, found) if found else f"{DOCS}?search={path}"
        name, _, fragment = target.partition("#")
        path = (page.source.parent / name).resolve()
        if not path.exists():
            sys.exit(f"{page.source.relative_to(ROOT)}: no file {target}")
        suffix = f"#{fragment}" if fragment else ""
        if path in self.by_source:
            return self.relative(page, self.by_source[path]) + suffix
        if path.suffix in {".svg", ".png"}:
            self.copied.add(path)
            return self.relative(page, f"images/{path.name}")
        return f"{REPOSITORY}/blob/main/{path.relative_to(ROOT)}{suffix}"

    def relative(self, page, target):
        return os.path.relpath(target, os.path.dirname(page.target) or ".")

    def body(self, page):
        text = re.sub(r"^\[(`?[^\]]+`?)\]: (\S+)$", r"[\1]: <\2>", page.text, flags=re.M)
        # Links of rustdoc without a target: the target is the text.
        parts = re.split(r"(^```.*?^```$)", text, flags=re.S | re.M)
        defined = set(re.findall(r"^\[([^\]]+)\]:", text, re.M))
        shortcut = lambda found: found[0] if found[1] in defined else f"{found[0]}(<{found[1].strip('`')}>)"
        text = "".join(part if part.startswith("```") else re.sub(r"\[(`[^`\]]+`)\](?![(\[:])", shortcut, part) for part in parts)
        markdown = MarkdownIt("commonmark", {"html": True, "highlight": code}).enable(["table", "strikethrough"])
        tokens = markdown.parse(text)
        slugs = {}
        for at, token in enumerate(tokens):
            if token.type == "heading_open":
                slug = re.sub(r"[^\w\- ]", "", tokens[at + 1].content.lower()).replace(" ", "-")
                slugs[slug] = slugs.get(slug, 0) + 1
                token.attrSet("id", slug if slugs[slug] == 1 else f"{slug}-{slugs[slug] - 1}")
            for child in token.children or []:
                for attribute in ("href", "src"):
                    if target := child.attrGet(attribute):
                        child.attrSet(attribute, self.link(page, target))
        rendered = markdown.renderer.render(tokens, markdown.options, {})
        return rendered.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")

    def navigation(self, page):
        parts = []
        for name, group in self.groups.items():
            items = "".join(
                f'<li><a href="{self.relative(page, other.target)}"{" aria-current=page" if other is page else ""}>{html.escape(other.title)}</a></li>'
                for other in group
            )
            heading = f"<summary>{name}</summary>" if name else ""
            parts.append(f"<details{' open' if page in group or name in ('Guide', 'Steps') else ''}>{heading}<ul>{items}</ul></details>" if name else f"<ul>{items}</ul>")
        return "".join(parts)

    def write(self):
        style = (ROOT / "site/style.css").read_text() + HtmlFormatter(style="friendly").get_style_defs("pre")
        style += "@media (prefers-color-scheme: dark) {" + HtmlFormatter(style="nord").get_style_defs("pre") + "}"
        # The styles of code set a background of their own.
        style = re.sub(r"(?m)^pre \{ background: #\w+; ?[^}]*\}$", "", style)
        self.folder.mkdir(parents=True)
        (self.folder / "style.css").write_text(style)
        template = (ROOT / "site/page.html").read_text()
        version = MANIFEST["workspace"]["package"]["version"]
        for page in self.all:
            body = self.body(page)
            first = "" if body.lstrip().startswith("<h1") and page.source.suffix == ".md" and not page.target.startswith("guide/") else f"<h1>{html.escape(page.title)}</h1>"
            api = f'<p class="api"><a href="{DOCS}{page.api}">Reference on docs.rs</a></p>' if page.api is not None else ""
            values = {
                "title": html.escape("tower-chain" if page.target == "index.html" else f"{page.title} - tower-chain"),
                "style": self.relative(page, "style.css"),
                "index": self.relative(page, "index.html"),
                "version": version,
                "repository": REPOSITORY,
                "navigation": self.navigation(page),
                "body": first + body + api,
            }
            path = self.folder / page.target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template))
        (self.folder / "images").mkdir()
        for path in self.copied:
            shutil.copy(path, self.folder / "images")
        shutil.copy(ROOT / "llms.txt", self.folder)
        self.check()

    def check(self):
        """Each relative link leads to a file, and each fragment to a heading. No page loads from another host."""
        wrong = []
        for path in sorted(self.folder.rglob("*.html")):
            text = path.read_text()
            name = path.relative_to(self.folder)
            for target in re.findall(r'(?:href|src)="([^"]*)"', text):
                if re.match(r"[a-z]+:", target):
                    continue
                file, _, fragment = target.partition("#")
                other = (path.parent / file).resolve() if file else path
                if not other.is_file():
                    wrong.append(f"{name}: {target}")
                elif fragment and f'id="{fragment}"' not in other.read_text():
                    wrong.append(f"{name}: no heading {target}")
            if re.search(r"<script|<iframe|<(?:img|link)[^>]*(?:src|href)=\"[a-z]+:", text):
                wrong.append(f"{name}: loads a script or something from another host")
        empty = [page.target for page in self.all if len(page.text) < 100]
        wrong += [f"{target} has no text" for target in empty]
        if wrong:
            sys.exit("\n".join(wrong))
        print(f"{len(self.all)} pages in {self.folder}")


if __name__ == "__main__":
    Site(pathlib.Path(sys.argv[1])).write()
