//! A summary as a table for a terminal.

use std::fmt::{self, Write};

use super::summary::Summary;
use super::times::Times;
use super::verdict::Verdict;

/// URLs in the head line; the rest is counted.
const URLS_SHOWN: usize = 3;

/// A line of the table of times.
pub(super) type Row = (&'static str, fn(&Times) -> f64);

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.knee(f)?;
        self.players(f)?;
        self.rates(f)?;
        self.times(f)?;
        self.rest(f)?;
        self.failures(f)?;
        self.by_url(f)?;
        end(
            f,
            &self.notes,
            self.verdict,
            self.asked_rate_per_s.is_some(),
        )
    }
}

impl Summary {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n  {}\n", self.targets(URLS_SHOWN), self.set_up())
    }

    /// The first URLs, and the number of the others.
    pub(super) fn targets(&self, max: usize) -> String {
        let shown = &self.urls[..self.urls.len().min(max)];
        let mut text = shown.join(" ");
        let more = self.urls_total.max(self.urls.len()) - shown.len();
        if more > 0 {
            let _ = write!(text, " and {} more", grouped(more as u64));
        }
        text
    }

    /// The set-up of the load, in one line.
    pub(super) fn set_up(&self) -> String {
        let mut text = format!(
            "{}, {}, {}",
            self.model,
            counted(self.connections as u64, "connection"),
            counted(self.threads as u64, "thread")
        );
        if self.pipeline > 1 {
            let _ = write!(text, ", {} requests deep", self.pipeline);
        }
        if self.connection_per_request {
            text += ", a connection per request";
        }
        if let Some(ranges) = &self.ranges {
            let _ = write!(text, ", ranges {ranges}");
        }
        if self.interrupted {
            text += ", stopped early";
        }
        text
    }

    fn rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(
            f,
            "requests",
            &format!("{} in {:.2} s", grouped(self.requests), self.seconds),
        )?;
        let asked = match self.asked_rate_per_s.zip(self.due()) {
            Some((asked, due)) => of_asked(asked, self.requests, due),
            None => String::new(),
        };
        line(f, "rate", &(per_second(self.rate_per_s) + &asked))?;
        let per_s = self.bytes as f64 / self.seconds.max(1e-9);
        line(
            f,
            "received",
            &format!("{}, {}/s", sized(self.bytes as f64), sized(per_s)),
        )?;
        writeln!(f)
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (response, service) = (&self.response_time_us, &self.service_time_us);
        if response.count == 0 {
            return Ok(());
        }
        // In a closed loop response and service times are the same.
        match self.asked_rate_per_s {
            Some(_) => columns(f, &[("response time", response), ("service time", service)]),
            None => columns(f, &[("service time", service)]),
        }
    }

    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lag) = &self.generator_lag_us
            && lag.count > 0
        {
            line(f, "generator lag", &short(lag))?;
        }
        let connect = &self.connect_time_us;
        let text = format!(
            "{} made, P50 {}, max {}",
            grouped(self.connects),
            timed(connect.p50),
            timed(connect.max)
        );
        line(f, "connections", &text)?;
        line(
            f,
            "in flight",
            &format!("at most {}", grouped(self.in_flight_max)),
        )?;
        let mut cpu = format!("client {:.2} µs", self.client_cpu_us_per_request);
        if let Some(server) = self.server_cpu_us_per_request {
            let _ = write!(cpu, ", server {server:.2} µs");
        }
        let _ = write!(
            cpu,
            " a request; busiest client thread {:.0}%",
            self.client_busy * 100.0
        );
        line(f, "CPU", &cpu)
    }

    fn knee(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.knee_steps {
            writeln!(
                f,
                "  {:>14} asked {:>14} answered  P99 {:>8}  {}",
                per_second(step.asked_rate_per_s),
                per_second(step.rate_per_s),
                timed(step.response_p99_us),
                if step.good { "good" } else { "too much" }
            )?;
        }
        if !self.knee_steps.is_empty() {
            let asked = per_second(self.asked_rate_per_s.unwrap_or(0.0));
            writeln!(f, "\n  the load at {asked}:\n")?;
        }
        Ok(())
    }

    fn players(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.player_rows();
        if rows.is_empty() {
            return Ok(());
        }
        rows.iter()
            .try_for_each(|(name, text)| line(f, name, text))?;
        writeln!(f)
    }

    /// The results of the video players, if the connections were players.
    pub(super) fn player_rows(&self) -> Vec<(&'static str, String)> {
        let Some(players) = &self.players else {
            return Vec::new();
        };
        let waits = |times: &Times| match times.count {
            0 => String::new(),
            _ => format!(": {}", short(times)),
        };
        let started = format!(
            "{} of {} files{}",
            grouped(players.started),
            grouped(players.opened),
            waits(&players.startup_time_us)
        );
        let seeks = grouped(players.seeks) + &waits(&players.seek_time_us);
        let stalls = format!(
            "{}, {:.1} s beside {:.1} s played ({:.2}%)",
            grouped(players.stalls),
            players.stalled_s,
            players.played_s,
            players.stalled_share * 100.0
        );
        vec![("start-up", started), ("stalls", stalls), ("seeks", seeks)]
    }

    fn by_url(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_url.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n  {:>12}{:>10}{:>11}{:>11}{:>11}",
            "requests", "errors", "P50", "P99", "max"
        )?;
        for row in &self.by_url {
            writeln!(
                f,
                "  {:>12}{:>10}{:>11}{:>11}{:>11}  {}",
                grouped(row.requests),
                grouped(row.errors),
                timed(row.response_p50_us),
                timed(row.response_p99_us),
                timed(row.response_max_us),
                row.url.as_deref().unwrap_or("all others")
            )?;
        }
        writeln!(f)
    }

    fn failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = nonzero(&mut self.status.iter());
        if !status.is_empty() {
            line(f, "status", &status)?;
        }
        let mut failed = match self.errors_total {
            0 => "0".to_owned(),
            total => format!("{}: {}", grouped(total), nonzero(&mut self.errors.iter())),
        };
        if self.unanswered + self.unsent > 0 {
            let _ = write!(
                failed,
                "; unanswered {}, unsent {}",
                grouped(self.unanswered),
                grouped(self.unsent)
            );
        }
        line(f, "errors", &failed)
    }
}

/// Distributions of times side by side.
pub(super) fn columns(f: &mut fmt::Formatter<'_>, columns: &[(&str, &Times)]) -> fmt::Result {
    write!(f, "  {:9}", "")?;
    for (title, _) in columns {
        write!(f, "{title:>15}")?;
    }
    writeln!(f)?;
    let rows: [Row; 7] = [
        ("P50", |t| t.p50),
        ("P90", |t| t.p90),
        ("P99", |t| t.p99),
        ("P99.9", |t| t.p999),
        ("P99.99", |t| t.p9999),
        ("max", |t| t.max),
        ("mean", |t| t.mean),
    ];
    for (name, of) in rows {
        write!(f, "  {name:9}")?;
        for (_, times) in columns {
            write!(f, "{:>15}", timed(of(times)))?;
        }
        writeln!(f)?;
    }
    writeln!(f)
}

/// The percentiles that matter most, in one line.
pub(super) fn short(times: &Times) -> String {
    format!(
        "P50 {}, P99 {}, max {}",
        timed(times.p50),
        timed(times.p99),
        timed(times.max)
    )
}

/// The requested rate, and the share of what was due that was reached.
pub(super) fn of_asked(asked_per_s: f64, reached: u64, due: u64) -> String {
    let share = reached as f64 / due.max(1) as f64 * 100.0;
    format!(" of {} asked ({share:.1}%)", per_second(asked_per_s))
}

/// The end of every table: the notes, and the verdict with its meaning.
pub(super) fn end(
    f: &mut fmt::Formatter<'_>,
    notes: &[String],
    verdict: Verdict,
    has_rate: bool,
) -> fmt::Result {
    for note in notes {
        writeln!(f, "  note: {note}")?;
    }
    writeln!(f, "  {verdict}: {}", verdict.meaning(has_rate))
}

/// The counts that are not zero, by their names.
pub(super) fn nonzero(counts: &mut dyn Iterator<Item = (&String, &u64)>) -> String {
    let some = counts.filter(|(_, count)| **count > 0);
    some.map(|(name, count)| format!("{name} {}", grouped(*count)))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:14}{text}")
}

pub(super) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate; to three digits below 100.
pub fn per_second(rate: f64) -> String {
    match rate {
        rate if rate < 0.0005 => "0/s".to_owned(),
        rate if rate < 9.995 => format!("{rate:.2}/s"),
        rate if rate < 99.95 => format!("{rate:.1}/s"),
        rate => format!("{}/s", grouped(rate.round() as u64)),
    }
}

/// A time in microseconds, written to three digits in a fitting unit.
pub fn timed(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 999.5 => (us, "µs"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

pub(super) fn sized(bytes: f64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if unit == 0 { 0 } else { 1 };
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123_456), "123,456");
        for (us, text) in [
            (0.0, "0.00 µs"),
            (9.99, "9.99 µs"),
            (9.996, "10.0 µs"),
            (265.4, "265 µs"),
            (999.6, "1.00 ms"),
            (1_620.0, "1.62 ms"),
            (1_400_000.0, "1.40 s"),
        ] {
            assert_eq!(timed(us), text);
        }
        for (rate, text) in [
            (0.1, "0.10/s"),
            (42.0, "42.0/s"),
            (1234.4, "1,234/s"),
            (0.0, "0/s"),
        ] {
            assert_eq!(per_second(rate), text);
        }
        assert_eq!(sized(999.0), "999 B");
        assert_eq!(sized(1_234_567.0), "1.2 MB");
    }

    #[test]
    fn a_closed_loop_has_one_column_of_times() {
        let mut summary = Summary {
            requests: 1,
            ..Summary::default()
        };
        summary.response_time_us.count = 1;
        assert!(!summary.to_string().contains("response time"));
        summary.asked_rate_per_s = Some(5.0);
        let text = summary.to_string();
        assert!(text.contains("response time   service time"), "{text}");
        assert!(text.contains("0/s of 5.00/s asked ("), "{text}");
    }
}
