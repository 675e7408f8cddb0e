//! A summary of live readers as a person reads it on a terminal.

use std::fmt::{self, Write};

use super::super::summary::Times;
use super::super::table::{columns, counted, grouped, line, nonzero, sized, timed};
use super::super::verdict::Verdict;
use super::summary::LiveSummary;

impl fmt::Display for LiveSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.rates(f)?;
        columns(
            f,
            &[
                ("behind", &self.behind_us),
                ("from written", &self.behind_written_us),
            ],
        )?;
        self.rest(f)?;
        let errors = match self.errors_total {
            0 => "0: no piece missing, none twice, none damaged".to_owned(),
            _ => nonzero(&mut self.errors.iter()),
        };
        line(f, "errors", &errors)?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if self.verdict != Verdict::Good {
            writeln!(f, "  {}", self.verdict)?;
        }
        Ok(())
    }
}

impl LiveSummary {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} <- {}", self.url, self.written_to)?;
        write!(f, "  {}, ", counted(self.readers as u64, "reader"))?;
        match self.poll_s {
            Some(poll_s) => write!(f, "asking every {}", timed(poll_s * 1e6))?,
            None => f.write_str("following")?,
        }
        write!(
            f,
            ", pieces of {} every {}, {}",
            sized(self.piece_bytes as f64),
            timed(self.interval_s * 1e6),
            counted(self.threads as u64, "thread"),
        )?;
        if self.interrupted {
            write!(f, ", stopped early")?;
        }
        writeln!(f, "\n")
    }

    fn rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "{} in {:.2} s, {:.3} Mbit/s of {:.3} asked",
            counted(self.written, "piece"),
            self.seconds,
            self.write_bits_per_s / 1e6,
            self.asked_write_bits_per_s / 1e6,
        );
        line(f, "written", &text)?;
        let text = format!(
            "{}, {}/s; {}, {}/s",
            counted(self.pieces, "piece"),
            grouped(self.piece_rate_per_s.round() as u64),
            sized(self.bytes as f64),
            sized(self.bytes_per_s),
        );
        line(f, "read", &text)?;
        let mut text = counted(self.requests, "request");
        if !self.follow {
            let _ = write!(text, ", {} with nothing new", grouped(self.nothing_new));
        }
        line(f, "asked", &text)?;
        writeln!(f)
    }

    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut short = |name: &str, times: &Times| {
            let text = format!(
                "P50 {}, P99 {}, max {}",
                timed(times.p50),
                timed(times.p99),
                timed(times.max)
            );
            line(f, name, &text)
        };
        short("start-up", &self.startup_us)?;
        short("writing", &self.write_us)?;
        short("writer's lag", &self.writer_lag_us)?;
        if self.reader_lag_us.count > 0 {
            short("readers' lag", &self.reader_lag_us)?;
        }
        let text = match self.stalls {
            0 => format!("0 of more than {}", timed(self.stall_s * 1e6)),
            stalls => format!("{}, {:.1} s in all", grouped(stalls), self.stalled_s),
        };
        line(f, "stalls", &text)?;
        let text = format!(
            "{} joined, {} without a piece",
            grouped(self.readers_joined),
            grouped(self.readers_without_piece)
        );
        line(f, "readers", &text)?;
        let connect = &self.connect_time_us;
        let text = format!(
            "{} made, P50 {}, max {}; made again {}",
            grouped(self.connects),
            timed(connect.p50),
            timed(connect.max),
            grouped(self.reconnects)
        );
        line(f, "connections", &text)?;
        let mut cpu = format!(
            "client {:.2} us a piece, {:.0} us a reader and second",
            self.client_cpu_us_per_piece, self.client_cpu_us_per_reader_s
        );
        if let Some((piece, second)) = self
            .server_cpu_us_per_piece
            .zip(self.server_cpu_us_per_reader_s)
        {
            let _ = write!(cpu, "; server {piece:.2} us and {second:.0} us");
        }
        let _ = write!(
            cpu,
            "; busiest client thread {:.0}%",
            self.client_busy * 100.0
        );
        line(f, "CPU", &cpu)
    }
}
