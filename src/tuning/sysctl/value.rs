//! Compares a setting's present value with the wanted one.

use super::known::Better;

/// What to do about a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Same,
    /// The present value is better than the wanted one.
    Better,
    /// This value must be written: the better of both, number by number.
    Change(String),
}

/// Splits a value into words, by which values are compared: the kernel writes tabs where people
/// write spaces.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// Compares `now` with `wanted`. With `allow_lower` a better value is no reason to keep it.
pub(super) fn decide(now: &str, wanted: &str, better: Better, allow_lower: bool) -> Decision {
    if same(now, wanted) {
        return Decision::Same;
    }
    let wanted_text = || wanted.split_whitespace().collect::<Vec<_>>().join(" ");
    let (Some(of_now), Some(of_wanted)) = (numbers(now), numbers(wanted)) else {
        return Decision::Change(wanted_text());
    };
    let of_one_shape = of_now.len() == of_wanted.len();
    let shape_fits = better != Better::Wider || of_now.len() == 2;
    if allow_lower || !of_one_shape || !shape_fits || better == Better::Exact {
        return Decision::Change(wanted_text());
    }
    let pairs = of_now.iter().zip(&of_wanted).enumerate();
    let best: Vec<i128> = pairs
        .map(|(index, (&now, &wanted))| match better {
            Better::Lower => now.min(wanted),
            Better::Wider if index == 0 => now.min(wanted),
            _ => now.max(wanted),
        })
        .collect();
    if best == of_now {
        return Decision::Better;
    }
    let words: Vec<String> = best.iter().map(ToString::to_string).collect();
    Decision::Change(words.join(" "))
}

fn numbers(text: &str) -> Option<Vec<i128>> {
    text.split_whitespace()
        .map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Decision {
        Decision::Change(text.to_owned())
    }

    #[test]
    fn the_better_value_stays() {
        use Better::{Exact, Higher, Lower, Wider};
        for (now, wanted, better, decision) in [
            ("4096", "65535", Higher, change("65535")),
            ("65536", "65535", Higher, Decision::Better),
            ("9223372036854775807", "1048576", Higher, Decision::Better),
            ("7200", "600", Lower, change("600")),
            ("300", "600", Lower, Decision::Better),
            ("1", "0", Exact, change("0")),
            ("0", "0", Exact, Decision::Same),
            ("32768\t60999", "1024 65535", Wider, change("1024 65535")),
            ("1000\t60999", "1024 65535", Wider, change("1000 65535")),
            ("1\t65535", "1024 65535", Wider, Decision::Better),
            ("1024\t65535", "1024   65535", Wider, Decision::Same),
            (
                "4096\t16384\t4194304",
                "4096 8192 16777216",
                Higher,
                change("4096 16384 16777216"),
            ),
            (
                "8192\t16384\t33554432",
                "4096 16384 16777216",
                Higher,
                Decision::Better,
            ),
            ("cubic", "bbr", Exact, change("bbr")),
            ("", "8080", Higher, change("8080")),
            ("1 2", "3", Higher, change("3")),
        ] {
            assert_eq!(
                decide(now, wanted, better, false),
                decision,
                "{now} {wanted}"
            );
        }
    }

    #[test]
    fn a_better_value_goes_when_told() {
        assert_eq!(
            decide("65536", "65535", Better::Higher, true),
            change("65535")
        );
        assert_eq!(
            decide("65535", "65535", Better::Higher, true),
            Decision::Same
        );
    }
}
