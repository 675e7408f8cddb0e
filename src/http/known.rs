//! The field names that the server acts on, recognised by one table look-up.

/// A perfect hash of a name's length, first and last letter: no two known names
/// share a bucket, which the table's construction asserts.
const fn bucket(name: &[u8]) -> usize {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return 0;
    };
    (name.len() + 7 * (*first | 0x20) as usize + (*last | 0x20) as usize) & 0xff
}

const EMPTY: u8 = u8::MAX;

macro_rules! known {
    ($($variant:ident $name:literal)*) => {
        /// A field name that the server acts on.
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Known {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        static ALL: [(Known, &str); [$($name),*].len()] = [$((Known::$variant, $name)),*];

        const fn buckets() -> [u8; 256] {
            let mut table = [EMPTY; 256];
            $(
                let at = bucket($name.as_bytes());
                assert!(table[at] == EMPTY, "two known field names share a bucket");
                table[at] = Known::$variant as u8;
            )*
            table
        }
    };
}

known! {
    Accept "accept"
    AcceptCharset "accept-charset"
    AcceptEncoding "accept-encoding"
    AcceptLanguage "accept-language"
    AccessControlRequestHeaders "access-control-request-headers"
    AccessControlRequestMethod "access-control-request-method"
    Authorization "authorization"
    CacheControl "cache-control"
    Connection "connection"
    ContentEncoding "content-encoding"
    ContentLength "content-length"
    ContentRange "content-range"
    ContentType "content-type"
    Cookie "cookie"
    Date "date"
    Expect "expect"
    Forwarded "forwarded"
    Host "host"
    Http2Settings "http2-settings"
    IfMatch "if-match"
    IfModifiedSince "if-modified-since"
    IfNoneMatch "if-none-match"
    IfRange "if-range"
    IfUnmodifiedSince "if-unmodified-since"
    KeepAlive "keep-alive"
    LastEventId "last-event-id"
    Origin "origin"
    Pragma "pragma"
    Priority "priority"
    Range "range"
    Referer "referer"
    SecWebSocketExtensions "sec-websocket-extensions"
    SecWebSocketKey "sec-websocket-key"
    SecWebSocketProtocol "sec-websocket-protocol"
    SecWebSocketVersion "sec-websocket-version"
    Te "te"
    Trailer "trailer"
    TransferEncoding "transfer-encoding"
    Upgrade "upgrade"
    UpgradeInsecureRequests "upgrade-insecure-requests"
    UserAgent "user-agent"
    Via "via"
    WantReprDigest "want-repr-digest"
    XForwardedFor "x-forwarded-for"
    XForwardedProto "x-forwarded-proto"
    XRequestId "x-request-id"
}

static BUCKETS: [u8; 256] = buckets();

// One bit each in a `KnownSet`.
const _: () = assert!(ALL.len() <= 64);

impl Known {
    /// The known name that `name` spells, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Known> {
        let (known, spelling) = ALL.get(usize::from(BUCKETS[bucket(name)]))?;
        spelling
            .as_bytes()
            .eq_ignore_ascii_case(name)
            .then_some(*known)
    }

    /// The name in lower case.
    #[inline]
    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }
}

/// Which known names a header block has.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct KnownSet(u64);

impl KnownSet {
    /// No names.
    pub const EMPTY: KnownSet = KnownSet(0);

    /// Adds `name`.
    #[inline]
    pub fn insert(&mut self, name: Known) {
        self.0 |= 1 << name as u8;
    }

    /// The set of these names.
    pub const fn of(names: &[Known]) -> KnownSet {
        let mut set = KnownSet::EMPTY;
        let mut at = 0;
        while at < names.len() {
            set.0 |= 1 << names[at] as u8;
            at += 1;
        }
        set
    }

    /// Whether the two sets have a name in common.
    #[inline]
    pub const fn intersects(self, other: KnownSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `name` is in the set.
    #[inline]
    pub fn contains(self, name: Known) -> bool {
        self.0 & (1 << name as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_has_its_own_bit() {
        let mut set = KnownSet::EMPTY;
        for (at, (known, name)) in ALL.iter().enumerate() {
            assert_eq!(*known as usize, at);
            assert_eq!(Known::of(name.as_bytes()), Some(*known));
            assert_eq!(Known::of(name.to_uppercase().as_bytes()), Some(*known));
            assert_eq!(known.name(), *name);
            assert!(!set.contains(*known));
            set.insert(*known);
            assert!(set.contains(*known));
        }
    }

    #[test]
    fn names_in_a_taken_bucket_are_told_apart() {
        assert_eq!(Known::of(b""), None);
        assert_eq!(Known::of(b"hxxt"), None);
        assert_eq!(Known::of(b"host "), None);
        assert_eq!(Known::of(b"x-unheard-of"), None);
    }
}
