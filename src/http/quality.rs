//! Weights of negotiation fields (RFC 9110 section 12.4.2).

/// A weight in thousandths: 0 is "not acceptable", 1000 the most preferred.
pub type Thousandths = u16;

/// The weight of a member without `q`.
const UNSAID: Thousandths = 1000;

/// The weight among a member's parameters, 1000 if there is none; `None` when it is malformed.
pub fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<Thousandths> {
    for parameter in parameters {
        if let [b'q' | b'Q', b'=', value @ ..] = parameter.trim_ascii() {
            return qvalue(value);
        }
    }
    Some(UNSAID)
}

/// `qvalue`: 0 to 1 with up to three decimals.
fn qvalue(value: &[u8]) -> Option<Thousandths> {
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for digit in decimals {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_at_most_three_decimals_and_end_at_one() {
        for (value, wanted) in [
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.001", Some(1)),
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("0.0001", None),
            ("2", None),
            ("-1", None),
            (".5", None),
            ("0.x", None),
            ("", None),
        ] {
            assert_eq!(qvalue(value.as_bytes()), wanted, "{value}");
        }
    }

    #[test]
    fn the_first_q_counts_in_either_case() {
        let of = |text: &'static str| weight(text.as_bytes().split(|byte| *byte == b';'));
        assert_eq!(of("a=b; Q=0.25 ;q=1"), Some(250));
        assert_eq!(of("a=b"), Some(1000));
        assert_eq!(of("q=x"), None);
    }
}
