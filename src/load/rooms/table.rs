//! A summary of rooms as a table for a terminal.

use std::fmt::{self, Write};

use super::super::summary::due_in;
use super::super::table::{
    columns, counted, end, grouped, line, nonzero, of_asked, per_second, short, sized, timed,
};
use super::summary::RoomsSummary;

impl fmt::Display for RoomsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.rates(f)?;
        columns(
            f,
            &[
                ("from due", &self.delivery_time_us),
                ("from sent", &self.transit_time_us),
            ],
        )?;
        self.rest(f)?;
        self.failures(f)?;
        end(f, &self.notes, self.verdict, true)
    }
}

impl RoomsSummary {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} <- {} {}",
            self.sub_url, self.pub_method, self.pub_url
        )?;
        writeln!(f, "  {}\n", self.set_up())
    }

    /// The set-up of the load, in one line.
    pub(in crate::load) fn set_up(&self) -> String {
        let mut text = format!(
            "{}, {}, {}, {}, messages of {}, {}",
            self.model,
            counted(self.subscribers as u64, "subscriber"),
            counted(self.publishers as u64, "publisher"),
            counted(self.rooms as u64, "room"),
            sized(self.size as f64),
            counted(self.threads as u64, "thread"),
        );
        if self.interrupted {
            text += ", stopped early";
        }
        text
    }

    fn rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: f64, all: f64| part / all.max(1e-9) * 100.0;
        line(
            f,
            "published",
            &format!(
                "{} in {:.2} s, {}{}",
                grouped(self.published),
                self.seconds,
                per_second(self.publish_rate_per_s),
                of_asked(
                    self.asked_publish_rate_per_s,
                    self.published,
                    due_in(self.asked_publish_rate_per_s, self.seconds)
                )
            ),
        )?;
        line(
            f,
            "delivered",
            &format!(
                "{} of {} expected ({:.3}%), {}",
                grouped(self.deliveries),
                grouped(self.expected_deliveries),
                share(self.deliveries as f64, self.expected_deliveries as f64),
                per_second(self.delivery_rate_per_s)
            ),
        )?;
        let per_second = self.bytes as f64 / self.seconds.max(1e-9);
        line(
            f,
            "received",
            &format!(
                "{}, {}/s; {} WebSocket messages, {:.2} deliveries each",
                sized(self.bytes as f64),
                sized(per_second),
                grouped(self.websocket_messages),
                self.deliveries_per_websocket_message
            ),
        )?;
        writeln!(f)
    }

    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(publish) = &self.publish_time_us {
            line(f, "publish", &short(publish))?;
        }
        if self.generator_lag_us.count > 0 {
            line(f, "generator lag", &short(&self.generator_lag_us))?;
        }
        let connect = &self.connect_time_us;
        let text = format!(
            "{} made, handshakes P50 {}, max {}; lost {}",
            grouped(self.connects),
            timed(connect.p50),
            timed(connect.max),
            grouped(self.connections_lost)
        );
        line(f, "connections", &text)?;
        let mut cpu = format!("client {:.3} µs", self.client_cpu_us_per_delivery);
        if let Some(server) = self.server_cpu_us_per_delivery {
            let _ = write!(cpu, ", server {server:.3} µs");
        }
        let _ = write!(
            cpu,
            " a delivery; busiest client thread {:.0}%",
            self.client_busy * 100.0
        );
        line(f, "CPU", &cpu)
    }

    fn failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = [
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("out of order", self.out_of_order),
            ("damaged", self.damaged),
            ("of other rooms", self.misrouted),
            ("subscribers never connected", self.subscribers_unconnected),
        ];
        let mut parts: Vec<String> = wrong
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {}", grouped(*count)))
            .collect();
        if self.errors_total > 0 {
            parts.push(nonzero(&mut self.errors.iter()));
        }
        let text = match parts.is_empty() {
            true => "0: nothing lost, nothing twice, all in order".to_owned(),
            false => parts.join(", "),
        };
        line(f, "errors", &text)?;
        let others = [
            ("tags of other runs", self.foreign),
            ("WebSocket messages without a tag", self.untagged),
            ("messages never sent", self.unsent),
        ];
        for (name, count) in others.iter().filter(|(_, count)| *count > 0) {
            line(f, "also", &format!("{} {name}", grouped(*count)))?;
        }
        Ok(())
    }
}
