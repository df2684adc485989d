//! The report as an image.

use std::fmt::{self, Write};

use super::report::{DEBUG_BUILD, OverheadReport, micros, percent};

impl OverheadReport {
    /// Draws the report as an image: a line for each step, with a bar as wide as the step's share.
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a `String` never fails.
        let _ = write(&mut svg, self);
        svg
    }
}

fn write(to: &mut String, report: &OverheadReport) -> fmt::Result {
    let lines: Vec<_> = report.tree().collect();
    let title = report.title();
    let longest = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let bars = MARGIN * 2 + longest * CHARACTER;
    let width = (bars + BAR + FIGURES).max(MARGIN * 2 + title.chars().count() * CHARACTER);
    let height = MARGIN * 2 + (lines.len() + 2 + usize::from(report.is_debug_build())) * LINE;
    let widest = report.steps().iter().map(|step| step.share()).fold(f64::MIN_POSITIVE, f64::max);
    writeln!(
        to,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">"
    )?;
    writeln!(to, "<title>{}</title>\n{STYLE}", XmlText(&title))?;
    writeln!(to, "<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>")?;
    text(to, (MARGIN, 0), "title", &title)?;
    for (line, (label, step)) in (1..).zip(&lines) {
        text(to, (MARGIN, line), "label", label)?;
        let Some(step) = step else { continue };
        let bar = ((step.share() / widest * BAR as f64).round() as usize).max(1);
        let (y, height) = (MARGIN + line * LINE + 3, LINE - 6);
        writeln!(
            to,
            "<rect class=\"bar\" x=\"{bars}\" y=\"{y}\" width=\"{bar}\" height=\"{height}\"/>"
        )?;
        let mut figures = format!("{}  {}", step.shown_time(), percent(step.share()));
        if let Some(count) = step.allocations() {
            let plural = if count == 1 { "" } else { "s" };
            write!(figures, "  {count} allocation{plural}")?;
        }
        text(to, (bars + bar + 6, line), "figures", &figures)?;
    }
    let (whole, unprobed) = (micros(report.total()), micros(report.unprobed()));
    let whole = format!("total: {whole}; without probes: {unprobed}");
    text(to, (MARGIN, lines.len() + 1), "title", &whole)?;
    if report.is_debug_build() {
        text(to, (MARGIN, lines.len() + 2), "title", DEBUG_BUILD)?;
    }
    to.write_str("</svg>\n")
}

fn text(to: &mut String, (x, line): (usize, usize), class: &str, text: &str) -> fmt::Result {
    let (y, text) = (MARGIN + line * LINE + LINE - 6, XmlText(text));
    writeln!(to, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" xml:space=\"preserve\">{text}</text>")
}

/// Text with the characters escaped that XML reserves.
struct XmlText<'a>(&'a str);

impl fmt::Display for XmlText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                // XML 1.0 has no representation of these.
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

// In pixels.
const MARGIN: usize = 12;
const LINE: usize = 22;
const CHARACTER: usize = 8;
const BAR: usize = 320;
const FIGURES: usize = 280;

const STYLE: &str = "<style>
text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #24292f }
.figures { fill: #57606a }
.page { fill: #fff }
.bar { fill: #3b7dd8 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .figures { fill: #9198a1 } .page { fill: #0d1117 } .bar { fill: #4f8fe6 }
}
</style>";
