//! One plot as SVG. Only positions are set here; colours and sizes are in the style sheet.

use std::fmt;

use super::page::Escaped;
use super::scale::Scale;

/// The drawing's units. A page on a desktop shows it at about one pixel a unit, a phone at two
/// thirds, where the style sheet enlarges the letters.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = WIDTH - 86.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = HEIGHT - 46.0;
/// Line height and letter width of the largest text.
const LINE_HEIGHT: f64 = 16.0;
const LETTER_WIDTH: f64 = 8.2;

/// An axis: its scale, label and ticks.
pub(super) struct Axis {
    /// The label, with its unit.
    pub label: String,
    pub scale: Scale,
    pub ticks: Vec<(f64, String)>,
}

/// A point on the plot, which may have no value.
pub(super) type Point = (f64, Option<f64>);

/// The shapes of a plot; they are drawn from back to front.
pub(super) enum Shape {
    /// A line, named at its end; interrupted where a point has no value.
    Line {
        class: &'static str,
        name: String,
        points: Vec<Point>,
    },
    /// The area between two lines: x, and the lower and upper value.
    Band {
        class: &'static str,
        points: Vec<(f64, Option<(f64, f64)>)>,
    },
    /// A value as a line over the whole width, named at its end.
    Level {
        class: &'static str,
        name: String,
        y: f64,
    },
    /// A point with its name above it or below; `open` ones are rings.
    Dot {
        class: &'static str,
        name: String,
        at: (f64, f64),
        below: bool,
        open: bool,
        hint: String,
    },
    /// A mark at the bottom of the plot.
    Flag { x: f64 },
    /// The tooltip for the range between two positions.
    Hint { from: f64, to: f64, text: String },
}

/// A plot with its axes.
pub(super) struct Plot {
    /// A prefix for ids, unique on the page.
    pub id: &'static str,
    pub title: String,
    /// A description for screen readers.
    pub says: String,
    pub x: Axis,
    pub y: Axis,
    pub shapes: Vec<Shape>,
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{0}-title {0}-desc\">\n\
             <title id=\"{0}-title\">{1}</title>\n<desc id=\"{0}-desc\">{2}</desc>",
            self.id,
            Escaped(&self.title),
            Escaped(&self.says)
        )?;
        self.axes(f)?;
        for shape in &self.shapes {
            self.shape(f, shape)?;
        }
        self.names(f)?;
        f.write_str("</svg>\n")
    }
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.share(value) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.y.scale.share(value) * (BOTTOM - TOP)
    }

    fn axes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (value, label) in &self.y.ticks {
            let y = self.y(*value);
            writeln!(
                f,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                Escaped(label)
            )?;
        }
        let mut free_from = f64::MIN;
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            write!(f, "<path class=\"axis\" d=\"M{x:.1} {BOTTOM}v5\"/>")?;
            // Skips a label that would overlap another.
            let half = label.chars().count() as f64 * LETTER_WIDTH / 2.0;
            if x - half >= free_from {
                free_from = x + half + LETTER_WIDTH / 2.0;
                write!(
                    f,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    BOTTOM + 19.0,
                    Escaped(label)
                )?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>\n\
             <text class=\"label\" x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <text class=\"label\" x=\"0\" y=\"14\">{}</text>",
            HEIGHT - 6.0,
            Escaped(&self.x.label),
            Escaped(&self.y.label)
        )
    }

    fn shape(&self, f: &mut fmt::Formatter<'_>, shape: &Shape) -> fmt::Result {
        match shape {
            Shape::Line { class, points, .. } => {
                write!(f, "<path class=\"line {class}\" d=\"")?;
                let mut command = 'M';
                for (x, y) in points {
                    let Some(y) = y else {
                        command = 'M';
                        continue;
                    };
                    write!(f, "{command}{:.1} {:.1}", self.x(*x), self.y(*y))?;
                    command = 'L';
                }
                writeln!(f, "\"/>")
            }
            Shape::Band { class, points } => self.band(f, class, points),
            Shape::Level { class, y, .. } => {
                let y = self.y(*y);
                writeln!(
                    f,
                    "<path class=\"line {class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"
                )
            }
            Shape::Dot {
                class,
                at,
                open,
                hint,
                ..
            } => {
                let ring = if *open { " open" } else { "" };
                writeln!(
                    f,
                    "<circle class=\"dot {class}{ring}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\"><title>{}</title></circle>",
                    self.x(at.0),
                    self.y(at.1),
                    Escaped(hint)
                )
            }
            Shape::Flag { x } => writeln!(
                f,
                "<path class=\"flag\" d=\"M{:.1} {BOTTOM}l-4 -9h8z\"/>",
                self.x(*x)
            ),
            Shape::Hint { from, to, text } => {
                let (from, to) = (self.x(*from), self.x(*to));
                writeln!(
                    f,
                    "<rect class=\"hint\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\">\
                     <title>{}</title></rect>",
                    (to - from).max(1.0),
                    BOTTOM - TOP,
                    Escaped(text)
                )
            }
        }
    }

    /// The area between two lines, split at gaps.
    fn band(
        &self,
        f: &mut fmt::Formatter<'_>,
        class: &str,
        points: &[(f64, Option<(f64, f64)>)],
    ) -> fmt::Result {
        for run in points.split(|(_, ends)| ends.is_none()) {
            let ends = || run.iter().filter_map(|(x, ends)| Some((x, (*ends)?)));
            if run.is_empty() {
                continue;
            }
            write!(f, "<path class=\"band {class}\" d=\"")?;
            let mut command = 'M';
            let upper = ends().map(|(x, (_, high))| (x, high));
            let lower = ends().rev().map(|(x, (low, _))| (x, low));
            for (x, y) in upper.chain(lower) {
                write!(f, "{command}{:.1} {:.1}", self.x(*x), self.y(y))?;
                command = 'L';
            }
            writeln!(f, "Z\"/>")?;
        }
        Ok(())
    }

    /// The names of lines at their ends, those of dots beside them.
    fn names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ends = Vec::new();
        let mut taken: Vec<(f64, f64)> = Vec::new();
        for shape in &self.shapes {
            match shape {
                Shape::Line {
                    class,
                    name,
                    points,
                } if !name.is_empty() => {
                    let last = points.iter().rev().find_map(|(_, y)| *y);
                    ends.extend(last.map(|y| (self.y(y), *class, name)));
                }
                Shape::Level { class, name, y } => ends.push((self.y(*y), *class, name)),
                Shape::Dot {
                    class,
                    name,
                    at,
                    below,
                    ..
                } if !name.is_empty() => {
                    let (x, y) = (self.x(at.0), self.y(at.1));
                    let near =
                        |(a, b): &(f64, f64)| (a - x).abs() < 64.0 && (b - y).abs() < LINE_HEIGHT;
                    if taken.iter().any(near) {
                        continue;
                    }
                    taken.push((x, y));
                    // On the side away from the rising line.
                    let width = name.chars().count() as f64 * LETTER_WIDTH + 9.0;
                    let (anchor, aside, down) = match below {
                        true if x + width < WIDTH => ("start", 9.0, 15.0),
                        true => ("end", -9.0, 15.0),
                        false if x - width < LEFT => ("start", 9.0, 15.0),
                        false => ("end", -9.0, -4.0),
                    };
                    writeln!(
                        f,
                        "<text class=\"name {class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                        x + aside,
                        (y + down).clamp(TOP - 4.0, BOTTOM - 4.0),
                        Escaped(name)
                    )?;
                }
                _ => {}
            }
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Moves overlapping labels down, then up again where they went beyond the bottom.
        let mut places: Vec<f64> = Vec::with_capacity(ends.len());
        for (y, ..) in &ends {
            let free_from = places.last().map_or(TOP, |last| last + LINE_HEIGHT);
            places.push(y.max(free_from));
        }
        let mut free_to = BOTTOM + LINE_HEIGHT;
        for place in places.iter_mut().rev() {
            *place = place.min(free_to - LINE_HEIGHT);
            free_to = *place;
        }
        for ((_, class, name), y) in ends.iter().zip(places) {
            writeln!(
                f,
                "<text class=\"name {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                RIGHT + 6.0,
                y + 4.0,
                Escaped(name)
            )?;
        }
        Ok(())
    }
}
