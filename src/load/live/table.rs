//! A summary of live readers as a table for a terminal.

use std::fmt::{self, Write};

use super::super::table::{
    columns, counted, end, grouped, line, nonzero, per_second, short, sized, timed,
};
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
        end(f, &self.notes, self.verdict, true)
    }
}

impl LiveSummary {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} <- {}", self.url, self.written_to)?;
        writeln!(f, "  {}\n", self.set_up())
    }

    /// The set-up of the load, in one line.
    pub(in crate::load) fn set_up(&self) -> String {
        let asking = match self.poll_s {
            Some(poll_s) => format!("asking every {}", timed(poll_s * 1e6)),
            None => "following".to_owned(),
        };
        let mut text = format!(
            "{}, {asking}, pieces of {} every {}, {}",
            counted(self.readers as u64, "reader"),
            sized(self.piece_bytes as f64),
            timed(self.interval_s * 1e6),
            counted(self.threads as u64, "thread"),
        );
        if self.interrupted {
            text += ", stopped early";
        }
        text
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
            "{}, {}; {}, {}/s",
            counted(self.pieces, "piece"),
            per_second(self.piece_rate_per_s),
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
        line(f, "start-up", &short(&self.startup_us))?;
        line(f, "writing", &short(&self.write_us))?;
        line(f, "writer's lag", &short(&self.writer_lag_us))?;
        if self.reader_lag_us.count > 0 {
            line(f, "readers' lag", &short(&self.reader_lag_us))?;
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
            "client {:.2} µs a piece, {:.0} µs a reader and second",
            self.client_cpu_us_per_piece, self.client_cpu_us_per_reader_s
        );
        if let Some((piece, second)) = self
            .server_cpu_us_per_piece
            .zip(self.server_cpu_us_per_reader_s)
        {
            let _ = write!(cpu, "; server {piece:.2} µs and {second:.0} µs");
        }
        let _ = write!(
            cpu,
            "; busiest client thread {:.0}%",
            self.client_busy * 100.0
        );
        line(f, "CPU", &cpu)
    }
}
