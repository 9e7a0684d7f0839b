//! Tests of the kinds of option values.

use super::*;

fn word(text: &str) -> RawValue<'_> {
    RawValue::Word(text, Grammar::Seconds)
}

#[test]
fn switches() {
    for text in ["true", "TRUE", "1", "Yes", "on"] {
        assert_eq!(Switch.parse(&word(text)), Some(true), "{text}");
    }
    for text in ["false", "False", "0", "no", "OFF"] {
        assert_eq!(Switch.parse(&word(text)), Some(false), "{text}");
    }
    for text in ["5", "truee", "y", "t", "-1", "1.0"] {
        assert_eq!(Switch.parse(&word(text)), None, "{text}");
    }
    assert_eq!(Switch.parse(&RawValue::Whole(1)), None);
    assert_eq!(Switch.parse(&RawValue::Whole(5)), None);
    assert_eq!(Switch.parse(&RawValue::Text("on")), Some(true));
}

#[test]
fn whole_numbers_are_never_rounded() {
    let size = Whole(0, 10_000, "");
    assert_eq!(size.parse(&word("20")), Some(20));
    assert_eq!(size.parse(&RawValue::Whole(0)), Some(0));
    for text in ["20.7", "-1", "10001", "abc", "0x10", "99999999999999999999"] {
        assert_eq!(size.parse(&word(text)), None, "{text}");
    }
    assert_eq!(size.parse(&RawValue::Fraction(20.7)), None);
    assert_eq!(size.parse(&RawValue::Fraction(20.0)), None);
    assert_eq!(size.parse(&RawValue::Text("20")), None);
    assert_eq!(size.parse(&RawValue::Switch(true)), None);
    assert_eq!(Limit(10).parse(&word("-1")), Some(None));
    assert_eq!(Limit(10).parse(&word("-2")), None);
    assert_eq!(Limit(10).parse(&RawValue::Whole(0)), Some(Some(0)));
}

#[test]
fn times() {
    let time = Time::new(1, 3600);
    assert_eq!(time.parse(&word("30.0")), Some(Duration::from_secs(30)));
    assert_eq!(time.parse(&word("30s")), None, "the application would refuse it");
    assert_eq!(time.parse(&RawValue::Text("30s")), Some(Duration::from_secs(30)));
    assert_eq!(time.parse(&RawValue::Fraction(0.25)), Some(Duration::from_millis(250)));
    for given in [word("0"), word("-1"), word("nan"), word("1e2"), word("3601")] {
        assert_eq!(time.parse(&given), None);
    }
    assert_eq!(time.parse(&RawValue::Fraction(f64::NAN)), None);
    assert_eq!(time.parse(&RawValue::Whole(-1)), None);
}

#[test]
fn times_that_may_be_none() {
    let command = TimeOr { time: Time::new(1, 60), word: "none", number: None, whole: false };
    assert_eq!(command.parse(&word("None")), Some(None));
    assert_eq!(command.parse(&word("2.5")), Some(Some(Duration::from_millis(2500))));
    assert_eq!(command.parse(&word("0")), None);
    let recycle = TimeOr { time: Time::new(0, 60), word: "never", number: Some(-1), whole: true };
    assert_eq!(recycle.parse(&word("-1")), Some(None));
    assert_eq!(recycle.parse(&RawValue::Whole(-1)), Some(None));
    assert_eq!(recycle.parse(&word("20.7")), None);
    assert_eq!(recycle.parse(&word("20")), Some(Some(Duration::from_secs(20))));
    assert_eq!(recycle.parse(&word("-2")), None);
}

#[test]
fn percent() {
    assert_eq!(Percent.parse(&word("0.5")), Some(0.5));
    for text in ["0", "-1", "101", "NaN", "inf"] {
        assert_eq!(Percent.parse(&word(text)), None, "{text}");
    }
}
