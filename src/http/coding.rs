//! Content codings: which one a request's Accept-Encoding asks for (RFC 9110 sections 8.4.1 and 12.5.3).

use super::known::Known;
use super::quality::{Thousandths, weight};
use super::{Headers, scan};

/// A content coding that this program makes.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Coding {
    /// `br` (RFC 7932)
    Brotli,
    /// `zstd` (RFC 8878; its window stays within the 8 MB of RFC 9659)
    Zstd,
    /// `gzip` (RFC 1952)
    Gzip,
}

impl Coding {
    /// All codings; the earlier one wins where a client weighs two alike.
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// The value of Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// The usual file name extension of this coding, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zst",
            Coding::Gzip => "gz",
        }
    }

    /// The coding that a member names. `x-gzip` is gzip (section 8.4.1.3).
    fn of(name: &[u8]) -> Option<Coding> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Coding::Gzip);
        }
        Coding::ALL
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }
}

/// The rank of each coding that can be sent, in the order of [`Coding::ALL`]; `None`: not
/// available. The lower rank wins where the client weighs two alike.
pub type Offers = [Option<u8>; Coding::ALL.len()];

/// What to send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// In this coding.
    Coded(Coding),
    /// Without a coding (`identity`).
    Identity,
    /// The client accepts neither an offered coding nor `identity`.
    NotAcceptable,
}

/// The weights that a client gives to each coding and to `identity`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AcceptEncoding {
    codings: [Thousandths; Coding::ALL.len()],
    /// `None`: not mentioned, so acceptable, but with less weight than a coding that is.
    identity: Option<Thousandths>,
}

impl AcceptEncoding {
    /// For a client that sends no field or an empty one: `identity`. RFC 9110 would allow any
    /// coding, but clients that can decode send the field.
    const NONE: AcceptEncoding = AcceptEncoding {
        codings: [0; Coding::ALL.len()],
        identity: None,
    };

    /// Reads the field; several lines are one list. Malformed members are ignored, and the last
    /// of several weights for one coding counts.
    pub fn of(headers: &Headers<'_>) -> AcceptEncoding {
        if !headers.has(Known::AcceptEncoding) {
            return AcceptEncoding::NONE;
        }
        let mut codings = [None; Coding::ALL.len()];
        let (mut identity, mut any) = (None, None);
        for value in headers.get_all(Known::AcceptEncoding) {
            for member in value.split(|&byte| byte == b',') {
                let mut parts = member.split(|&byte| byte == b';');
                let name = scan::trim(parts.next().unwrap_or_default());
                let place = match Coding::of(name) {
                    Some(coding) => &mut codings[coding as usize],
                    None if name == b"*" => &mut any,
                    None if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                    None => continue,
                };
                if let Some(weight) = weight(parts) {
                    *place = Some(weight);
                }
            }
        }
        AcceptEncoding {
            codings: codings.map(|named| named.or(any).unwrap_or(0)),
            identity: identity.or(any),
        }
    }

    /// Whether any coding is acceptable.
    #[inline]
    pub fn takes_codings(&self) -> bool {
        self.codings != [0; Coding::ALL.len()]
    }

    /// Whether `identity` is acceptable: always, unless `identity;q=0` or `*;q=0` forbids it.
    #[inline]
    pub fn takes_identity(&self) -> bool {
        self.identity != Some(0)
    }

    /// The offer with the greatest weight, or `identity`. Of equal weights a coding wins.
    pub fn choose(&self, offers: &Offers) -> Choice {
        let liked = |coding: Coding| {
            let weight = self.codings[coding as usize];
            let rank = offers[coding as usize].filter(|_| weight > 0)?;
            // The smallest is the best.
            Some((Thousandths::MAX - weight, rank, coding))
        };
        let best = Coding::ALL.into_iter().filter_map(liked).min();
        match best {
            Some((_, _, coding))
                if self
                    .identity
                    .is_none_or(|identity| self.codings[coding as usize] >= identity) =>
            {
                Choice::Coded(coding)
            }
            _ if self.takes_identity() => Choice::Identity,
            _ => Choice::NotAcceptable,
        }
    }
}

#[cfg(test)]
mod tests;
