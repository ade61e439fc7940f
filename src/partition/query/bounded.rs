//! Bounds for jq programs: steps, depth of calls, and size of values.
//!
//! Always true: whatever the program and the record, a run ends, and neither the stack nor the memory of the process does. What
//! ends a run depends on the program and the record alone.
//!
//! jaq has no such bounds, so a program is changed before it is compiled: each definition's body, jq's own included, and each turn
//! of `reduce` and `foreach` begins with a step; `+` and `*` look at what they would make; `range` counts.

use std::cell::Cell;

use jaq_core::box_iter::box_once;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::native::{Fun, bome, v};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};
use jaq_core::{Error, Exn, Native, ValR, ValX};
use jaq_json::{Num, Rc, Val};

use super::Data;

/// Some tens of milliseconds; few records have as many values.
const STEPS_MAX: u32 = 250_000;
/// A quarter of what a thread of the compute pool has. A program that calls itself takes some hundred bytes for each call.
const STACK_BYTES_MAX: usize = 512 << 10;
/// Values that a program nests: they are taken apart by calls inside each other.
const DEPTH_MAX: usize = 1_000;
/// Of one value; a partition key has a thousandth of it.
const VALUE_BYTES_MAX: usize = 4 << 20;
/// Of all values that a run makes, be they there at the same time or not.
const MADE_BYTES_MAX: usize = 64 << 20;
/// Of a whole number: to multiply longer ones takes long.
const NUMBER_BYTES_MAX: usize = 16 << 10;

/// No program can have these names.
const STEP: &str = "!step";
const PLUS: &str = "!plus";
const TIMES: &str = "!times";
const VALUE: &str = "$!value";

thread_local! {
    static RUN: Cell<Run> = const { Cell::new(Run { steps: 0, bytes: 0, stack: 0, refused: None }) };
}

/// What a run on this thread may still take.
#[derive(Clone, Copy)]
struct Run {
    steps: u32,
    bytes: usize,
    /// Where its stack begins.
    stack: usize,
    refused: Option<&'static str>,
}

/// Runs a program; the error is a bound that it has come to, whatever it has made of that itself.
pub(super) fn run<T>(program: impl FnOnce() -> T) -> Result<T, &'static str> {
    RUN.set(Run { steps: STEPS_MAX, bytes: MADE_BYTES_MAX, stack: stack(), refused: None });
    let result = program();
    RUN.get().refused.map_or(Ok(result), Err)
}

/// About the address of the top of the stack.
#[inline(never)]
fn stack() -> usize {
    let here = 0u8;
    std::hint::black_box(std::ptr::from_ref(&here)) as usize
}

fn refuse(reason: &'static str) -> Error<Val> {
    let run = RUN.get();
    RUN.set(Run { refused: Some(run.refused.unwrap_or(reason)), ..run });
    Error::str(reason)
}

fn step(value: &Val) -> Result<(), Error<Val>> {
    let run = RUN.get();
    if let Some(reason) = run.refused {
        return Err(Error::str(reason));
    }
    let Some(steps) = run.steps.checked_sub(1) else { return Err(refuse("the program takes too many steps")) };
    RUN.set(Run { steps, ..run });
    if run.stack.abs_diff(stack()) > STACK_BYTES_MAX {
        return Err(refuse("the program calls itself too often"));
    }
    if is_too_deep(value) { Err(refuse("the program nests values too deep")) } else { Ok(()) }
}

/// Along the first values and the last ones, which is where programs nest.
fn is_too_deep(value: &Val) -> bool {
    let is_nested = |value: &&Val| matches!(value, Val::Arr(_) | Val::Obj(_));
    let mut value = value;
    for _ in 0..DEPTH_MAX {
        let (first, last) = match value {
            Val::Arr(items) => (items.first(), items.last()),
            Val::Obj(fields) => (fields.first().map(|(_, value)| value), fields.last().map(|(_, value)| value)),
            Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) => return false,
        };
        match first.filter(is_nested).or(last.filter(is_nested)) {
            Some(inner) => value = inner,
            None => return false,
        }
    }
    true
}

/// Bytes of the value itself, without those that it refers to.
fn size(value: &Val) -> usize {
    match value {
        Val::Null | Val::Bool(_) | Val::Num(Num::Int(_) | Num::Float(_) | Num::Dec(_)) => 0,
        Val::Num(Num::BigInt(number)) => number.bits() as usize / 8,
        Val::BStr(bytes) | Val::TStr(bytes) => bytes.len(),
        Val::Arr(items) => items.len() * size_of::<Val>(),
        Val::Obj(fields) => fields.len() * 2 * size_of::<Val>(),
    }
}

fn is_number(value: &Val) -> bool {
    matches!(value, Val::Num(_))
}

/// A value of `size` bytes is made, `new` of them in new memory.
fn make(size: usize, new: usize, max: usize) -> Result<(), Error<Val>> {
    let run = RUN.get();
    match run.bytes.checked_sub(new) {
        Some(bytes) if size <= max => {
            RUN.set(Run { bytes, ..run });
            Ok(())
        }
        Some(_) | None => Err(refuse("the program makes values that are too large")),
    }
}

fn plus(mut left: Val, right: Val) -> ValR<Val> {
    let (before, added) = (size(&left), size(&right));
    // What nobody else has grows where it is.
    let is_alone = match &mut left {
        Val::Null | Val::Bool(_) | Val::Num(_) => true,
        Val::BStr(bytes) | Val::TStr(bytes) => bytes.is_unique(),
        Val::Arr(items) => Rc::get_mut(items).is_some(),
        Val::Obj(fields) => Rc::get_mut(fields).is_some(),
    };
    let max = if is_number(&left) { NUMBER_BYTES_MAX } else { VALUE_BYTES_MAX };
    make(before + added, if is_alone { added } else { before + added }, max)?;
    left + right
}

fn times(left: Val, right: Val) -> ValR<Val> {
    let (bytes, max) = match (&left, &right) {
        (Val::BStr(text) | Val::TStr(text), Val::Num(count)) | (Val::Num(count), Val::BStr(text) | Val::TStr(text)) => {
            let count = match count {
                Num::Int(count) => usize::try_from(*count).unwrap_or(0),
                Num::BigInt(_) => usize::MAX,
                // Which jaq refuses.
                Num::Float(_) | Num::Dec(_) => 0,
            };
            (text.len().saturating_mul(count), VALUE_BYTES_MAX)
        }
        (Val::Num(_), Val::Num(_)) => (size(&left) + size(&right), NUMBER_BYTES_MAX),
        _ => (size(&left) + size(&right), VALUE_BYTES_MAX),
    };
    make(bytes, bytes, max)?;
    left * right
}

/// As jaq's own, a step for each number.
fn range<'a>(from: Val, to: Val, by: Val) -> impl Iterator<Item = ValX<'a, Val>> {
    let order = by.partial_cmp(&Val::from(0_isize)).unwrap_or(std::cmp::Ordering::Equal);
    let mut next = Some(from);
    std::iter::from_fn(move || {
        let now = next.take()?;
        let goes_on = match order {
            std::cmp::Ordering::Greater => now < to,
            std::cmp::Ordering::Less => now > to,
            std::cmp::Ordering::Equal => now != to,
        };
        if !goes_on {
            return None;
        }
        if let Err(error) = step(&now) {
            return Some(Err(Exn::from(error)));
        }
        match plus(now.clone(), by.clone()) {
            Ok(after) => next = Some(after),
            Err(error) => return Some(Err(Exn::from(error))),
        }
        Some(Ok(now))
    })
}

/// What changed programs call.
pub(super) fn functions() -> impl Iterator<Item = Fun<Data>> {
    let stepping = Native::<Data>::new(|(_, value)| bome(step(&value).map(|()| value)))
        .with_paths(|(_, (value, path))| box_once(step(&value).map(|()| (value, path)).map_err(Exn::from)))
        .with_update(|(_, value), update| match step(&value) {
            Ok(()) => update(value),
            Err(error) => box_once(Err(Exn::from(error))),
        });
    [
        (STEP, v(0), stepping),
        (
            PLUS,
            v(2),
            Native::new(|(mut context, input)| {
                // Else nothing is alone.
                drop(input);
                let right = context.pop_var();
                bome(plus(context.pop_var(), right))
            }),
        ),
        (
            TIMES,
            v(2),
            Native::new(|(mut context, input)| {
                // Else nothing is alone.
                drop(input);
                let right = context.pop_var();
                bome(times(context.pop_var(), right))
            }),
        ),
        (
            "range",
            v(3),
            Native::new(|mut cv| {
                let (by, to) = (cv.0.pop_var(), cv.0.pop_var());
                Box::new(range(cv.0.pop_var(), to, by))
            }),
        ),
    ]
    .into_iter()
}

/// A definition that begins with a step.
pub(super) fn definition(def: Def<&str>) -> Def<&str> {
    Def { name: def.name, args: def.args, body: stepping(term(def.body)) }
}

fn stepping(body: Term<&str>) -> Term<&str> {
    Term::BinOp(Box::new(Term::Call(STEP, Vec::new())), BinaryOp::Pipe(None), Box::new(body))
}

/// The same program with bounds.
pub(super) fn term(program: Term<&str>) -> Term<&str> {
    let boxed = |inner: Box<Term<_>>| Box::new(term(*inner));
    match program {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => program,
        Term::Str(format, parts) => {
            let part = |part| match part {
                StrPart::Term(inner) => StrPart::Term(term(inner)),
                other @ (StrPart::Str(_) | StrPart::Char(_)) => other,
            };
            Term::Str(format, parts.into_iter().map(part).collect())
        }
        Term::Arr(items) => Term::Arr(items.map(boxed)),
        Term::Obj(fields) => Term::Obj(fields.into_iter().map(|(key, value)| (term(key), value.map(term))).collect()),
        Term::Neg(inner) => Term::Neg(boxed(inner)),
        Term::BinOp(left, operator, right) => operation(term(*left), operator, term(*right)),
        Term::Label(name, inner) => Term::Label(name, boxed(inner)),
        Term::Fold(name, source, bound, bodies) => {
            // The first is where it begins.
            let body = |(index, body)| if index == 1 { stepping(term(body)) } else { term(body) };
            let bodies = bodies.into_iter().enumerate().map(body).collect();
            Term::Fold(name, boxed(source), pattern(bound), bodies)
        }
        Term::TryCatch(inner, catch) => Term::TryCatch(boxed(inner), catch.map(boxed)),
        Term::IfThenElse(branches, other) => {
            let branches = branches.into_iter().map(|(condition, then)| (term(condition), term(then))).collect();
            Term::IfThenElse(branches, other.map(boxed))
        }
        Term::Def(defs, inner) => Term::Def(defs.into_iter().map(definition).collect(), boxed(inner)),
        Term::Call(name, arguments) => Term::Call(name, arguments.into_iter().map(term).collect()),
        Term::Path(inner, Path(parts)) => {
            let part = |part| match part {
                Part::Index(index) => Part::Index(term(index)),
                Part::Range(from, to) => Part::Range(from.map(term), to.map(term)),
            };
            let parts = parts.into_iter().map(|(of, optional)| (part(of), optional)).collect();
            Term::Path(boxed(inner), Path(parts))
        }
    }
}

fn operation<'s>(left: Term<&'s str>, operator: BinaryOp<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    let name = |math: &Math| match math {
        Math::Add => Some(PLUS),
        Math::Mul => Some(TIMES),
        Math::Sub | Math::Div | Math::Rem => None,
    };
    match operator {
        BinaryOp::Math(math) => match name(&math) {
            Some(name) => Term::Call(name, vec![left, right]),
            None => Term::BinOp(Box::new(left), BinaryOp::Math(math), Box::new(right)),
        },
        // As jaq itself does it.
        BinaryOp::UpdateMath(math) => match name(&math) {
            Some(name) => {
                let made = Term::Call(name, vec![Term::Id, Term::Var(VALUE)]);
                let update = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(made));
                Term::BinOp(Box::new(right), BinaryOp::Pipe(Some(Pattern::Var(VALUE))), Box::new(update))
            }
            None => Term::BinOp(Box::new(left), BinaryOp::UpdateMath(math), Box::new(right)),
        },
        BinaryOp::Pipe(bound) => Term::BinOp(Box::new(left), BinaryOp::Pipe(bound.map(pattern)), Box::new(right)),
        other => Term::BinOp(Box::new(left), other, Box::new(right)),
    }
}

fn pattern(bound: Pattern<&str>) -> Pattern<&str> {
    match bound {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(pattern).collect()),
        Pattern::Obj(fields) => {
            Pattern::Obj(fields.into_iter().map(|(key, value)| (term(key), pattern(value))).collect())
        }
    }
}
