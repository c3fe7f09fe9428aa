//! What scripts answer, as what it means.

use bytes::Bytes;
use redis::Value;

use super::failure::Failure;
use super::keys::RECORD;
use crate::ids::{ExecutionNo, Fence, JobId};
use crate::job::{Lease, Owner, Record, Status, Title};
use crate::store::{Claimed, Claims, Counts, NewBody, Page};
use crate::time::UnixMillis;

/// The elements of an answer, taken one after the other.
pub(super) struct Elements(std::vec::IntoIter<Value>);

impl Elements {
    pub(super) fn of(answer: Value) -> Result<Self, Failure> {
        match answer {
            Value::Array(elements) => Ok(Self(elements.into_iter())),
            _ => Err(Failure::Odd),
        }
    }

    pub(super) fn next(&mut self) -> Result<Value, Failure> {
        self.0.next().ok_or(Failure::Odd)
    }

    /// The next bytes, or none.
    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        bytes(self.next()?)
    }

    pub(super) fn text(&mut self) -> Result<Option<String>, Failure> {
        match self.next()? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| Failure::Odd),
            _ => Err(Failure::Odd),
        }
    }

    /// The next number, however it is written, or none.
    pub(super) fn number<N: TryFrom<u64>>(&mut self) -> Result<Option<N>, Failure> {
        match self.next()? {
            Value::Nil => Ok(None),
            value => number(&value).map(Some),
        }
    }

    /// The next number, which must be there.
    pub(super) fn some<N: TryFrom<u64>>(&mut self) -> Result<N, Failure> {
        self.number()?.ok_or(Failure::Odd)
    }

    pub(super) fn id(&mut self) -> Result<JobId, Failure> {
        self.text()?.and_then(|text| text.parse().ok()).ok_or(Failure::Odd)
    }

    fn at(&mut self) -> Result<Option<UnixMillis>, Failure> {
        Ok(self.number()?.map(UnixMillis::new))
    }
}

pub(super) fn bytes(value: Value) -> Result<Option<Bytes>, Failure> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes.into())),
        _ => Err(Failure::Odd),
    }
}

/// A number of type N.
pub(super) fn number<N: TryFrom<u64>>(value: &Value) -> Result<N, Failure> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    number.and_then(|number| N::try_from(number).ok()).ok_or(Failure::Odd)
}

/// One of a few words.
pub(super) fn word(value: &Value) -> Result<&str, Failure> {
    match value {
        Value::BulkString(word) => std::str::from_utf8(word).map_err(|_| Failure::Odd),
        _ => Err(Failure::Odd),
    }
}

/// A job from the fields of [`RECORD`], which are taken. None = there is no such job.
pub(super) fn record(id: JobId, fields: &mut Elements) -> Result<Option<Record>, Failure> {
    if fields.0.len() < RECORD.len() {
        return Err(Failure::Odd);
    }
    let Some(state) = fields.text()? else { return Ok(None) };
    let status = match state.as_str() {
        // It waits for a repeat.
        "waiting" => Status::Running,
        state => Status::named(state).ok_or(Failure::Odd)?,
    };
    Ok(Some(Record {
        id,
        status,
        title: Title {
            route: fields.text()?.unwrap_or_default(),
            method: fields.text()?.unwrap_or_default(),
            path: fields.text()?.unwrap_or_default(),
        },
        owner: match fields.bytes()? {
            Some(digest) => Some(Owner::new(digest[..].try_into().map_err(|_| Failure::Odd)?)),
            None => None,
        },
        created: fields.at()?.ok_or(Failure::Odd)?,
        started: fields.at()?,
        completed: fields.at()?,
        executions: ExecutionNo::new(fields.number()?.unwrap_or_default()),
        error: fields.text()?,
    }))
}

/// The answer of `list`.
pub(super) fn records(answer: Value) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for pair in Elements::of(answer)?.0 {
        let mut pair = Elements::of(pair)?;
        let id = pair.id()?;
        records.extend(record(id, &mut Elements::of(pair.next()?)?)?);
    }
    Ok(records)
}

/// The answer of `claim`.
pub(super) fn claims(answer: Value) -> Result<Claims, Failure> {
    let mut answer = Elements::of(answer)?;
    let jobs = Elements::of(answer.next()?)?.0.map(claimed).collect::<Result<_, _>>()?;
    Ok(Claims {
        jobs,
        next: answer.number()?.map(std::time::Duration::from_millis),
        taken_over: answer.some()?,
        parked: answer.some()?,
    })
}

fn claimed(job: Value) -> Result<Claimed, Failure> {
    let mut job = Elements::of(job)?;
    let lease = Lease { job: job.id()?, fence: Fence::new(job.some()?), execution: ExecutionNo::new(job.some()?) };
    let (retries, request) = (job.number()?.unwrap_or_default(), job.bytes()?.unwrap_or_default());
    let (inline, count, length) = (job.bytes()?, job.number()?, job.number()?);
    let body = match count {
        Some(count) => NewBody::Pieces { count, length: length.unwrap_or_default() },
        None => NewBody::Inline(inline.unwrap_or_default()),
    };
    Ok(Claimed { lease, request, body, retries })
}

/// The answer of `read`.
pub(super) fn page(id: JobId, answer: Value) -> Result<Option<Page>, Failure> {
    if answer == Value::Nil {
        return Ok(None);
    }
    let mut answer = Elements::of(answer)?;
    let Some(record) = record(id, &mut answer)? else { return Ok(None) };
    Ok(Some(Page {
        record,
        head: answer.bytes()?,
        end: answer.bytes()?,
        length: answer.number()?.unwrap_or_default(),
        data: answer.bytes()?.into_iter().collect(),
    }))
}

/// The answer of `counts`.
pub(super) fn counts(answer: Value) -> Result<Counts, Failure> {
    let mut answer = Elements::of(answer)?;
    Ok(Counts {
        queued: answer.some()?,
        running: answer.some()?,
        waiting: answer.some()?,
        completed: answer.some()?,
        failed: answer.some()?,
        oldest: answer.at()?,
        bytes: answer.some()?,
    })
}
