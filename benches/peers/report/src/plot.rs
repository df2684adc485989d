//! Plots, as SVG that is readable on light and dark backgrounds.

use std::fmt::Write;

/// A line of a [`lines`] plot.
pub struct Line {
    pub label: String,
    pub points: Vec<(f64, f64)>,
    pub ours: bool,
}

/// A bar of a [`bars`] plot: its parts from left to right.
pub struct Bar {
    pub label: String,
    pub parts: Vec<f64>,
    pub ours: bool,
}

impl Bar {
    pub fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }
}

const STYLE: &str = "<style>\
svg{font:13px system-ui,sans-serif;--text:#333;--faint:#8885;--own:#c4380c}\
text{fill:var(--text)}.title{font-weight:600;font-size:15px}.own{fill:var(--own);font-weight:600}.small{font-size:11px}\
.grid{stroke:var(--faint)}.line{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){svg{--text:#ccc;--own:#ff8350}}\
</style>";

/// One hue for each other peer, all with the same lightness, to be visible on white and on black.
const HUES: [&str; 10] = [
    "#7a828e", "#3b82d6", "#2a9d6f", "#a06fd6", "#c2930a", "#1597a8", "#d0568f", "#6f8f2d",
    "#8a6d4f", "#5c6bd0",
];

/// Variants of this crate have one colour, and differ in this.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "10 3 2 3"];

/// Panels side by side, each with its own scale: cost against number.
pub fn lines(title: &str, x_title: &str, unit: &str, panels: &[(&str, Vec<Line>)]) -> String {
    let (axis, plot, height) = (45.0, 360.0, 440.0);
    let labels = |lines: &[Line]| {
        let label = |line: &Line| width_of(&line.label) + width_of(" 999.9");
        LEADER + lines.iter().map(label).fold(0.0, f64::max)
    };
    let width: f64 = panels.iter().map(|(_, lines)| axis + plot + labels(lines)).sum();
    let mut svg = open(title, width, height);
    let mut left = axis;
    for (i, (name, lines)) in panels.iter().enumerate() {
        let name = if i == 0 { (*name).to_owned() } else { format!("{name}, on another scale") };
        panel(&mut svg, left, 60.0, plot, height - 110.0, (&name, x_title, unit), lines);
        left += plot + labels(lines) + axis;
    }
    svg + "</svg>\n"
}

/// The distance of the labels from the ends of their lines.
const LEADER: f64 = 36.0;

/// The maximum width of a bold text.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 8.0
}

fn panel(
    svg: &mut String,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    (name, x_title, unit): (&str, &str, &str),
    lines: &[Line],
) {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_most = points().map(|point| point.0).fold(1.0, f64::max);
    let y_most = points().map(|point| point.1).fold(0.1, f64::max);
    let step = step(y_most);
    let y_end = (y_most / step).ceil() * step;
    let x = |value: f64| left + width * value / x_most;
    let y = |value: f64| top + height * (1.0 - value / y_end);
    put(svg, format!("<text x=\"{left}\" y=\"{}\">{name}: {unit}</text>", top - 12.0));
    let mut tick = 0.0;
    while tick <= y_end + step / 2.0 {
        let (at, end) = (y(tick), left + width);
        put(svg, format!("<path class=\"grid\" d=\"M{left} {at:.1}H{end}\"/>"));
        let place = format!("x=\"{}\" y=\"{:.1}\" text-anchor=\"end\"", left - 6.0, at + 4.0);
        put(svg, format!("<text class=\"small\" {place}>{}</text>", number(tick)));
        tick += step;
    }
    let mut marks: Vec<f64> = points().map(|point| point.0).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let bottom = top + height + 16.0;
    for mark in marks {
        let place = format!("x=\"{:.1}\" y=\"{bottom}\" text-anchor=\"middle\"", x(mark));
        put(svg, format!("<text class=\"small\" {place}>{mark}</text>"));
    }
    let place =
        format!("x=\"{}\" y=\"{}\" text-anchor=\"middle\"", left + width / 2.0, bottom + 18.0);
    put(svg, format!("<text class=\"small\" {place}>{x_title}</text>"));
    // The labels are at the ends of their lines, and move apart if those are close.
    let end_of = |line: &Line| line.points.last().map_or(0.0, |point| point.1);
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|a, b| end_of(&lines[*b]).total_cmp(&end_of(&lines[*a])));
    let mut places: Vec<f64> = order.iter().map(|i| y(end_of(&lines[*i]))).collect();
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + 16.0);
    }
    let lowest = top + height + 8.0;
    for i in (0..places.len()).rev() {
        let most = places.get(i + 1).map_or(lowest, |below| below - 16.0);
        places[i] = places[i].min(most);
    }
    let (mut hues, mut dashes) = (HUES.iter().cycle(), DASHES.iter().cycle());
    for (i, line) in lines.iter().enumerate() {
        let rank = order.iter().position(|other| *other == i).unwrap_or_default();
        let (colour, dash) = match line.ours {
            true => ("var(--own)", *dashes.next().unwrap_or(&"")),
            false => (*hues.next().unwrap_or(&"#888"), ""),
        };
        let stroke = format!("stroke=\"{colour}\" stroke-dasharray=\"{dash}\"");
        let mut path = String::new();
        for (n, point) in line.points.iter().enumerate() {
            let verb = if n == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{verb}{:.1} {:.1}", x(point.0), y(point.1));
        }
        put(svg, format!("<path class=\"line\" {stroke} d=\"{path}\"/>"));
        for point in &line.points {
            let (at_x, at_y) = (x(point.0), y(point.1));
            put(
                svg,
                format!("<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"3\" fill=\"{colour}\"/>"),
            );
        }
        let (from, to) = (y(end_of(line)), places[rank]);
        let (start, end) = (left + width + 4.0, left + width + LEADER - 8.0);
        put(svg, format!("<path d=\"M{start} {from:.1}L{end} {to:.1}\" {stroke}/>"));
        let class = if line.ours { " class=\"own\"" } else { "" };
        let place = format!("x=\"{}\" y=\"{:.1}\"", end + 4.0, to + 4.0);
        let (label, value) = (&line.label, number(end_of(line)));
        put(svg, format!("<text{class} {place}>{label} {value}</text>"));
    }
}

/// Panels one below the other, each with its own scale.
pub fn bars(title: &str, parts: &str, panels: &[(&str, Vec<Bar>)]) -> String {
    let rows: usize = panels.iter().map(|(_, bars)| bars.len()).sum();
    let height = 34.0 + panels.len() as f64 * 34.0 + rows as f64 * 24.0 + 12.0;
    let mut svg = open(title, 760.0, height);
    put(&mut svg, format!("<text class=\"small\" x=\"4\" y=\"40\">{parts}</text>"));
    let mut top = 44.0;
    let most_of = |bars: &[Bar]| bars.iter().map(Bar::sum).fold(0.001, f64::max);
    let first = panels.first().map_or(1.0, |(_, bars)| most_of(bars));
    for (i, (name, bars)) in panels.iter().enumerate() {
        let most = most_of(bars);
        let times = number((most / first * 10.0).round() / 10.0);
        let scale = match i {
            0 => String::new(),
            _ => format!(", on another scale: a bar of the same length is {times} times as much"),
        };
        put(&mut svg, format!("<text x=\"4\" y=\"{}\">{name}{scale}</text>", top + 22.0));
        top += 30.0;
        for bar in bars {
            let class = if bar.ours { " class=\"own\"" } else { "" };
            let place = format!("x=\"214\" y=\"{}\" text-anchor=\"end\"", top + 15.0);
            put(&mut svg, format!("<text{class} {place}>{}</text>", bar.label));
            let mut left = 222.0;
            let colour = if bar.ours { "var(--own)" } else { "#7a828e" };
            for (i, part) in bar.parts.iter().enumerate() {
                let (width, opacity) = (460.0 * part / most, [1.0, 0.5, 0.3][i.min(2)]);
                let size =
                    format!("x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"18\"");
                put(&mut svg, format!("<rect {size} fill=\"{colour}\" opacity=\"{opacity}\"/>"));
                left += width;
            }
            let place = format!("x=\"{:.1}\" y=\"{}\"", left + 6.0, top + 14.0);
            put(&mut svg, format!("<text {place}>{}</text>", number(bar.sum())));
            top += 24.0;
        }
    }
    svg + "</svg>\n"
}

fn open(title: &str, width: f64, height: f64) -> String {
    let size = format!("viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" {size} role=\"img\" aria-label=\"{title}\">\n{STYLE}\n\
         <text class=\"title\" x=\"4\" y=\"20\">{title}</text>\n"
    )
}

fn put(svg: &mut String, line: String) {
    svg.push_str(&line);
    svg.push('\n');
}

/// A round distance for four to eight lines.
fn step(most: f64) -> f64 {
    let power = 10f64.powf((most / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * power);
    steps.into_iter().rfind(|step| most / step >= 4.0).unwrap_or(power)
}

/// Small figures have a digit after the decimal point.
fn number(value: f64) -> String {
    match value {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
