//! Axes, and what is drawn between them.

use crate::svg::{self, Anchor, GREY, GRID, INK, Pen, Stroke, Svg};

/// How values become places.
#[derive(Clone, Copy)]
pub enum Scale {
    Linear {
        from: f64,
        to: f64,
    },
    /// Each step is ten times the one before.
    Log {
        from: f64,
        to: f64,
    },
    /// Shares close to one: 0, 90 %, 99 %, 99.9 % are equally far apart, up to this many nines.
    Nines {
        most: f64,
    },
}

impl Scale {
    /// Between 0 and 1; what lies outside is at the edge.
    fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value / from).log10() / (to / from).log10(),
            Self::Nines { most } => nines(value) / most,
        };
        // The logarithm of nothing is below everything.
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }
}

/// How many nines a share has: 1 for 90 %, 2 for 99 %; without end for all.
pub fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

pub struct Axis {
    pub scale: Scale,
    pub ticks: Vec<(f64, String)>,
    pub title: String,
}

impl Axis {
    /// Shares, spread out where the nines begin, for values up to `most` nines.
    pub fn nines(most: f64, roomy: bool, title: &str) -> Self {
        let ticks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
        // Half is so close to nothing that on a low panel the two names would touch.
        let shown = ticks.iter().filter(|tick| nines(**tick) <= most + 1e-6 && (**tick != 0.5 || roomy));
        let ticks = shown.map(|tick| (*tick, format!("{} %", rounded(tick * 100.0, 4)))).collect();
        Self { scale: Scale::Nines { most }, ticks, title: title.to_owned() }
    }

    /// Shares from none to all.
    pub fn shares(title: &str) -> Self {
        let ticks = (0..=5).map(|tick| (f64::from(tick) / 5.0, format!("{} %", tick * 20))).collect();
        Self { scale: Scale::Linear { from: 0.0, to: 1.0 }, ticks, title: title.to_owned() }
    }

    /// Powers of ten, named by `name`.
    pub fn log(from: f64, to: f64, title: &str, name: impl Fn(f64) -> String) -> Self {
        let powers = from.log10().ceil() as i32..=(to.log10() + 1e-9).floor() as i32;
        // A name for each power would touch the next on a low panel.
        let every = if powers.clone().count() > 7 { 2 } else { 1 };
        let ticks = powers.step_by(every).map(|power| 10_f64.powi(power)).map(|tick| (tick, name(tick)));
        Self { scale: Scale::Log { from, to }, ticks: ticks.collect(), title: title.to_owned() }
    }

    /// Time from 0 to so many seconds, in minutes when that is long.
    pub fn time(seconds: f64, title: &str) -> Self {
        const STEPS: [f64; 14] =
            [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0, 7200.0, 14400.0];
        let step = STEPS.into_iter().find(|step| seconds / step <= 8.0).unwrap_or(28_800.0);
        let (unit, of) = if seconds > 600.0 { (60.0, "min") } else { (1.0, "s") };
        let ticks = (0..=(seconds / step + 1e-9) as u32).map(|tick| f64::from(tick) * step);
        let ticks = ticks.map(|tick| (tick, rounded(tick / unit, 1))).collect();
        Self { scale: Scale::Linear { from: 0.0, to: seconds }, ticks, title: format!("{title}, in {of}") }
    }
}

/// Without zeros at its end.
fn rounded(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub struct Panel {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub across: Axis,
    pub up: Axis,
}

/// What a sample in the legend looks like.
#[derive(Clone, Copy)]
pub enum Sample {
    Line(Stroke),
    Area(&'static str),
    Circle(&'static str),
    Diamond(&'static str),
}

impl Panel {
    /// The place of a value.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.left + self.across.scale.place(x) * self.width,
            self.top + (1.0 - self.up.scale.place(y)) * self.height,
        )
    }

    /// Grid, ticks and titles.
    pub fn frame(&self, svg: &mut Svg) {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        let pen = Pen::new(12.0, GREY);
        for (value, name) in &self.up.ticks {
            let y = self.top + (1.0 - self.up.scale.place(*value)) * self.height;
            svg.line((self.left, y), (right, y), Stroke::solid(GRID, 1.0));
            svg.text((self.left - 8.0, y + 4.0), pen.anchor(Anchor::End), name);
        }
        for (value, name) in &self.across.ticks {
            let x = self.left + self.across.scale.place(*value) * self.width;
            svg.line((x, self.top), (x, bottom), Stroke::solid(GRID, 1.0));
            svg.line((x, bottom), (x, bottom + 4.0), Stroke::solid(GREY, 1.0));
            svg.text((x, bottom + 18.0), pen.anchor(Anchor::Middle), name);
        }
        svg.line((self.left, bottom), (right, bottom), Stroke::solid(GREY, 1.0));
        let pen = Pen::new(12.0, INK).anchor(Anchor::Middle);
        svg.text((self.left + self.width / 2.0, bottom + 36.0), pen, &self.across.title);
        let names = self.up.ticks.iter().map(|(_, name)| svg::width(name, 12.0)).fold(0.0, f64::max);
        svg.upright((self.left - names - 20.0, self.top + self.height / 2.0), pen, &self.up.title);
    }

    pub fn curve(&self, svg: &mut Svg, values: &[(f64, f64)], stroke: Stroke) {
        let points: Vec<_> = values.iter().map(|(x, y)| self.at(*x, *y)).collect();
        svg.path(&points, stroke);
    }

    /// Down to the bottom of the panel.
    pub fn area(&self, svg: &mut Svg, values: &[(f64, f64)], colour: &str, opacity: f64) {
        let mut points: Vec<_> = values.iter().map(|(x, y)| self.at(*x, *y)).collect();
        let bottom = self.top + self.height;
        if let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) {
            points.extend([(last.0, bottom), (first.0, bottom)]);
            svg.polygon(&points, colour, opacity);
        }
    }

    /// Samples with their names in a row above the panel.
    pub fn legend(&self, svg: &mut Svg, samples: &[(Sample, &str)]) {
        let (mut x, y) = (self.left, self.top - 14.0);
        for (sample, name) in samples {
            match *sample {
                Sample::Line(stroke) => svg.line((x, y), (x + 22.0, y), stroke),
                Sample::Area(colour) => {
                    let (top, bottom) = (y - 5.0, y + 5.0);
                    svg.polygon(&[(x, top), (x + 22.0, top), (x + 22.0, bottom), (x, bottom)], colour, 0.25);
                }
                Sample::Circle(colour) => {
                    svg.line((x, y), (x + 22.0, y), Stroke::solid(colour, 2.0));
                    svg.circle((x + 11.0, y), 5.0, colour);
                }
                Sample::Diamond(colour) => svg.diamond((x + 11.0, y), 7.0, colour),
            }
            svg.text((x + 28.0, y + 4.0), Pen::new(12.0, INK), name);
            x += 28.0 + svg::width(name, 12.0) + 14.0;
        }
    }
}
