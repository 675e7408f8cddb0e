//! Common parts of all pages: head, style, tables, and escaped text.

use std::fmt::{self, Display, Write};

const STYLE: &str = include_str!("style.css");

/// A self-contained page. It loads no resource and runs no script; a Content Security Policy (in a
/// meta element) enforces that, whatever its text.
pub(super) struct Document<'a, B> {
    pub title: &'a str,
    pub body: B,
}

impl<B: Display> Display for Document<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <link rel=\"icon\" href=\"data:,\"/>\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            Escaped(self.title),
            self.body
        )
    }
}

/// Untrusted text, escaped for elements and quoted attributes.
pub(super) struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '&' => f.write_str("&amp;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                '\n' | '\t' => f.write_char(character),
                // Replaces control characters and those that change the text's direction.
                c if c.is_control() || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{fffe}\u{ffff}".contains(c) => {
                    f.write_char(char::REPLACEMENT_CHARACTER)
                }
                c => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

/// A table whose first column names the rows.
pub(super) struct Table<'a> {
    pub class: &'static str,
    pub caption: &'a str,
    pub head: &'a [&'a str],
    pub rows: Vec<Vec<String>>,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "<div class=\"wide\"><table class=\"{}\">\n<caption>{}</caption>",
            self.class,
            Escaped(self.caption)
        )?;
        if !self.head.is_empty() {
            f.write_str("<thead><tr>")?;
            for name in self.head {
                write!(f, "<th scope=\"col\">{}</th>", Escaped(name))?;
            }
            f.write_str("</tr></thead>\n")?;
        }
        f.write_str("<tbody>\n")?;
        for row in &self.rows {
            f.write_str("<tr>")?;
            for (index, cell) in row.iter().enumerate() {
                match index {
                    0 => write!(f, "<th scope=\"row\">{}</th>", Escaped(cell))?,
                    _ => write!(f, "<td>{}</td>", Escaped(cell))?,
                }
            }
            f.write_str("</tr>\n")?;
        }
        f.write_str("</tbody></table></div>\n")
    }
}
