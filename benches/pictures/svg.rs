//! A drawing, element by element, with a look that is the same in every picture.

use std::fmt::Write;

/// Colours of Okabe and Ito's palette, which people with any kind of colour vision can tell apart.
pub const BLUE: &str = "#0072b2";
pub const VERMILLION: &str = "#d55e00";
pub const INK: &str = "#1f2933";
pub const GREY: &str = "#616e7c";
pub const GRID: &str = "#e4e7eb";
const PAPER: &str = "#ffffff";
const EDGE: &str = "#cbd2d9";
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif";
/// Mean width of a letter, in parts of its size. Rounded up, so that what is set side by side does not touch.
const LETTER: f64 = 0.56;

/// Where a text stands, seen from its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line looks.
#[derive(Clone, Copy)]
pub struct Stroke {
    pub colour: &'static str,
    pub width: f64,
    pub dashed: bool,
}

impl Stroke {
    pub const fn solid(colour: &'static str, width: f64) -> Self {
        Self { colour, width, dashed: false }
    }

    pub const fn dashed(colour: &'static str, width: f64) -> Self {
        Self { colour, width, dashed: true }
    }

    fn attributes(self) -> String {
        let dashes = if self.dashed { " stroke-dasharray='6 4'" } else { "" };
        format!("stroke='{}' stroke-width='{}'{dashes}", self.colour, self.width)
    }
}

/// How a text looks.
#[derive(Clone, Copy)]
pub struct Pen {
    pub size: f64,
    pub colour: &'static str,
    pub bold: bool,
    pub anchor: Anchor,
}

impl Pen {
    pub const fn new(size: f64, colour: &'static str) -> Self {
        Self { size, colour, bold: false, anchor: Anchor::Start }
    }

    pub const fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

pub struct Svg {
    text: String,
}

impl Svg {
    /// An empty sheet of paper. It has its own background, since it may be shown on a dark page.
    pub fn new(width: f64, height: f64, title: &str, what: &str) -> Self {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' \
             role='img' font-family=\"{FONT}\">\n<title>{}</title>\n<desc>{}</desc>\n<rect x='0.5' y='0.5' width='{}' \
             height='{}' rx='8' fill='{PAPER}' stroke='{EDGE}'/>",
            escaped(title),
            escaped(what),
            width - 1.0,
            height - 1.0
        );
        Self { text }
    }

    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: Stroke) {
        let look = stroke.attributes();
        let _ = writeln!(self.text, "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' {look}/>");
    }

    pub fn path(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let look = stroke.attributes();
        let _ = writeln!(
            self.text,
            "<polyline points='{}' fill='none' {look} stroke-linejoin='round'/>",
            joined(points)
        );
    }

    pub fn polygon(&mut self, points: &[(f64, f64)], colour: &str, opacity: f64) {
        let _ = writeln!(
            self.text,
            "<polygon points='{}' fill='{colour}' fill-opacity='{opacity}'/>",
            joined(points)
        );
    }

    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        let _ = writeln!(
            self.text,
            "<circle cx='{x:.1}' cy='{y:.1}' r='{radius}' fill='{colour}' stroke='{PAPER}' stroke-width='1.5'/>"
        );
    }

    /// A square on its corner: told from a circle without colour.
    pub fn diamond(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        self.polygon(&[(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)], colour, 1.0);
    }

    pub fn text(&mut self, (x, y): (f64, f64), pen: Pen, words: &str) {
        let _ =
            writeln!(self.text, "<text x='{x:.1}' y='{y:.1}' {}>{}</text>", attributes(pen), escaped(words));
    }

    /// Reads from below to above.
    pub fn upright(&mut self, (x, y): (f64, f64), pen: Pen, words: &str) {
        let _ = writeln!(
            self.text,
            "<text transform='translate({x:.1} {y:.1}) rotate(-90)' {}>{}</text>",
            attributes(pen),
            escaped(words)
        );
    }

    pub fn finish(self) -> String {
        self.text + "</svg>\n"
    }
}

/// About how wide a text is. There is no font here to measure it with.
pub fn width(words: &str, size: f64) -> f64 {
    words.chars().count() as f64 * size * LETTER
}

/// Words in lines that are no wider than `most`.
pub fn wrapped(words: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line, size) + width(word, size) + size <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn attributes(pen: Pen) -> String {
    let anchor = match pen.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let weight = if pen.bold { " font-weight='600'" } else { "" };
    format!("font-size='{}' fill='{}' text-anchor='{anchor}'{weight}", pen.size, pen.colour)
}

fn joined(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
