//! The top level of a JSON object, read in the pieces in which it lies. (p)

use memchr::memchr2;

/// A value that lies deeper than this is not read: parsers give up at such depths, most of them much earlier.
const MAX_DEPTH: usize = 1024;
/// The length of the longest name that matters.
const LONGEST_NAME: usize = 6;

/// What a request body says at its top level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `stream`, where it is `true` or `false`. The last one counts, as it does for those who read the body.
    pub stream: Option<bool>,
    /// Whether there is a `model`, whatever it is.
    pub has_model: bool,
}

/// It is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads a JSON object (RFC 8259) piece by piece, for the little that [`Said`] tells.
///
/// The time is linear in the length, and nothing is allocated: of all nesting it keeps one bit per level, of strings the
/// beginning of names at the top level. The whole grammar is checked, but not that strings are Unicode.
#[derive(Clone, Debug)]
pub struct ObjectScanner {
    expected: Expected,
    /// The containers around: a bit is set for an object.
    objects: [u64; MAX_DEPTH / 64],
    depth: usize,
    /// Whether the string is a name, or else a value.
    in_name: bool,
    name: Name,
    /// What is missing of `true`, `false` or `null`.
    word: &'static [u8],
    /// The digits of an escaped code unit: how many are missing, and what those that came say.
    hex: (u8, u16),
    said: Said,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Start,
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    /// More of a string, or its end.
    Text,
    /// What stands behind a backslash.
    Escape,
    Hex,
    Word,
    /// More of a number, of which this came.
    Number(Number),
    /// Nothing but white space.
    Nothing,
}

/// The last part of a number that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Default for ObjectScanner {
    fn default() -> Self {
        Self {
            expected: Expected::Start,
            objects: [0; MAX_DEPTH / 64],
            depth: 0,
            in_name: false,
            name: Name::default(),
            word: &[],
            hex: (0, 0),
            said: Said::default(),
        }
    }
}

impl ObjectScanner {
    /// Reads the next piece. After an error there is nothing more to read.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        let (mut expected, mut at) = (self.expected, 0);
        while let Some(&byte) = piece.get(at) {
            expected = match expected {
                Expected::Text => {
                    let length = plain_text(&piece[at..]);
                    self.note(&piece[at..at + length]);
                    at += length;
                    match piece.get(at) {
                        None => break,
                        Some(b'"') if self.in_name => Expected::Colon,
                        Some(b'"') => Expected::CommaOrEnd,
                        Some(b'\\') => Expected::Escape,
                        // A control character.
                        Some(_) => return Err(Malformed),
                    }
                }
                Expected::Escape => self.escape(byte)?,
                Expected::Hex => self.digit(byte)?,
                Expected::Word => self.letter(byte)?,
                Expected::Number(part) => {
                    let Some(part) = part.followed_by(byte)? else {
                        // The byte is no part of it.
                        expected = Expected::CommaOrEnd;
                        continue;
                    };
                    at += if part.is_run() { run(&piece[at + 1..], |byte| byte.is_ascii_digit()) } else { 0 };
                    Expected::Number(part)
                }
                between if is_space(byte) => {
                    at += run(&piece[at + 1..], is_space);
                    between
                }
                between => self.token(between, byte)?,
            };
            at += 1;
        }
        self.expected = expected;
        Ok(())
    }

    /// What it said, if it was complete.
    pub fn finish(self) -> Result<Said, Malformed> {
        if self.expected == Expected::Nothing { Ok(self.said) } else { Err(Malformed) }
    }

    /// What begins where neither a string nor a number nor a word is under way.
    fn token(&mut self, expected: Expected, byte: u8) -> Result<Expected, Malformed> {
        match (expected, byte) {
            (Expected::CommaOrEnd, b',') => Ok(if self.in_object() { Expected::Name } else { Expected::Value }),
            (Expected::Colon, b':') => Ok(Expected::Value),
            (Expected::Name | Expected::NameOrEnd, b'"') => {
                (self.in_name, self.name) = (true, Name::default());
                Ok(Expected::Text)
            }
            (Expected::NameOrEnd, b'}') | (Expected::ValueOrEnd, b']') => Ok(self.close()),
            (Expected::CommaOrEnd, b'}') if self.in_object() => Ok(self.close()),
            (Expected::CommaOrEnd, b']') if !self.in_object() => Ok(self.close()),
            (Expected::Value | Expected::ValueOrEnd, _) => self.value(byte),
            (Expected::Start, b'{') => self.open(true),
            _ => Err(Malformed),
        }
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8) -> Result<Expected, Malformed> {
        if self.depth == 1 {
            match self.name.get() {
                b"model" => self.said.has_model = true,
                b"stream" => {
                    self.said.stream = match byte {
                        b't' => Some(true),
                        b'f' => Some(false),
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        Ok(match byte {
            b'"' => {
                self.in_name = false;
                Expected::Text
            }
            b'{' => self.open(true)?,
            b'[' => self.open(false)?,
            b'1'..=b'9' => Expected::Number(Number::Integer),
            b'0' => Expected::Number(Number::Zero),
            b'-' => Expected::Number(Number::Minus),
            b't' => self.word(b"rue"),
            b'f' => self.word(b"alse"),
            b'n' => self.word(b"ull"),
            _ => return Err(Malformed),
        })
    }

    fn in_object(&self) -> bool {
        let level = self.depth.wrapping_sub(1);
        self.objects.get(level / 64).is_some_and(|levels| levels >> (level % 64) & 1 == 1)
    }

    fn open(&mut self, is_object: bool) -> Result<Expected, Malformed> {
        let (levels, bit) = (self.objects.get_mut(self.depth / 64).ok_or(Malformed)?, self.depth % 64);
        *levels = *levels & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
        Ok(if is_object { Expected::NameOrEnd } else { Expected::ValueOrEnd })
    }

    fn close(&mut self) -> Expected {
        self.depth -= 1;
        if self.depth == 0 { Expected::Nothing } else { Expected::CommaOrEnd }
    }

    fn word(&mut self, rest: &'static [u8]) -> Expected {
        self.word = rest;
        Expected::Word
    }

    fn letter(&mut self, byte: u8) -> Result<Expected, Malformed> {
        self.word = self.word.strip_prefix(&[byte]).ok_or(Malformed)?;
        Ok(if self.word.is_empty() { Expected::CommaOrEnd } else { Expected::Word })
    }

    /// Keeps what belongs to a name at the top level.
    fn note(&mut self, text: &[u8]) {
        if self.in_name && self.depth == 1 {
            self.name.push(text);
        }
    }

    fn escape(&mut self, byte: u8) -> Result<Expected, Malformed> {
        let meant = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => b'\x08',
            b'f' => b'\x0c',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.hex = (4, 0);
                return Ok(Expected::Hex);
            }
            _ => return Err(Malformed),
        };
        self.note(&[meant]);
        Ok(Expected::Text)
    }

    fn digit(&mut self, byte: u8) -> Result<Expected, Malformed> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()).ok_or(Malformed)?;
        let (missing, unit) = (self.hex.0 - 1, self.hex.1 << 4 | digit);
        self.hex = (missing, unit);
        if missing > 0 {
            return Ok(Expected::Hex);
        }
        // The names that matter are ASCII, so one byte stands for all else.
        self.note(&[u8::try_from(unit).unwrap_or(u8::MAX)]);
        Ok(Expected::Text)
    }
}

impl Number {
    /// Whether any digits may follow.
    fn is_run(self) -> bool {
        matches!(self, Self::Integer | Self::Fraction | Self::Exponent)
    }

    /// What came with this byte; None where the number has ended before it.
    fn followed_by(self, byte: u8) -> Result<Option<Self>, Malformed> {
        Ok(Some(match (self, byte) {
            (Self::Minus | Self::Integer, b'1'..=b'9') | (Self::Integer, b'0') => Self::Integer,
            (Self::Minus, b'0') => Self::Zero,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::ESign,
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            (Self::Zero | Self::Integer | Self::Fraction | Self::Exponent, _) => return Ok(None),
            (Self::Minus | Self::Point | Self::E | Self::ESign, _) => return Err(Malformed),
        }))
    }
}

/// A name, or as much of it as shows that it is none of those that matter.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; LONGEST_NAME],
    length: usize,
}

impl Name {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.length += bytes.len();
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// How many bytes of a kind come first.
fn run(bytes: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !is_one(*byte)).unwrap_or(bytes.len())
}

/// So many words are looked through before `memchr` is asked, whose call costs as much.
const WORDS: usize = 8;

/// How many bytes come before the next quote, backslash or control character.
fn plain_text(text: &[u8]) -> usize {
    let (words, _) = text.as_chunks::<8>();
    for (index, word) in words.iter().take(WORDS).enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let passed = words.len().min(WORDS) * 8;
    let rest = &text[passed..];
    let plain = &rest[..memchr2(b'"', b'\\', rest).unwrap_or(rest.len())];
    let is_control = |byte: &u8| *byte < b' ';
    // The least of them all takes no branch, and so a fraction of the time of a search.
    if plain.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ' {
        return passed + plain.iter().position(is_control).unwrap_or(plain.len());
    }
    passed + plain.len()
}

/// The highest bit of each quote, backslash and control character; only the lowest bit that is set is sure.
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let control = word.wrapping_sub(ONES * b' ' as u64) & !word;
    (control | zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64))) & (ONES << 7)
}
