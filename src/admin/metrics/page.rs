//! A page of metrics in the text format of Prometheus, version 0.0.4. (p)

use prometheus::TextEncoder;
use prometheus::proto;

use super::table::{Kind, Metric};
use crate::stats::Buckets;

/// What a page shows of the metrics, family by family.
#[derive(Default)]
pub(super) struct Page(Vec<proto::MetricFamily>);

/// One value of a metric, with the values of its labels.
pub(super) struct Sample<'a> {
    labels: Vec<&'a str>,
    value: Value,
}

enum Value {
    Number(f64),
    Buckets(Buckets),
}

impl<'a> Sample<'a> {
    /// A number.
    pub(super) fn new(labels: impl Into<Vec<&'a str>>, value: f64) -> Self {
        Self { labels: labels.into(), value: Value::Number(value) }
    }

    /// A number of things.
    pub(super) fn count(labels: impl Into<Vec<&'a str>>, count: impl TryInto<u64>) -> Self {
        Self::new(labels, float(count.try_into().unwrap_or(u64::MAX)))
    }

    /// Durations.
    pub(super) fn buckets(labels: impl Into<Vec<&'a str>>, buckets: Buckets) -> Self {
        Self { labels: labels.into(), value: Value::Buckets(buckets) }
    }
}

impl Page {
    /// A family. Without a sample it is left out.
    pub(super) fn add<'a>(&mut self, metric: &Metric, samples: impl IntoIterator<Item = Sample<'a>>) {
        let samples: Vec<_> = samples.into_iter().map(|sample| sample.of(metric)).collect();
        if samples.is_empty() {
            return;
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
        });
        family.set_metric(samples);
        self.0.push(family);
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let encoded = TextEncoder::new().encode_to_string(&self.0);
        encoded.unwrap_or_else(|error| {
            // Only a family without a name or without a sample is refused, and there is none.
            tracing::error!(%error, "the metrics cannot be written");
            String::new()
        })
    }
}

impl Sample<'_> {
    fn of(self, metric: &Metric) -> proto::Metric {
        let labels = metric.labels.iter().zip(self.labels).map(|(name, value)| {
            let mut label = proto::LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value(value.to_owned());
            label
        });
        let mut sample = proto::Metric::from_label(labels.collect());
        match (metric.kind, self.value) {
            (Kind::Counter, Value::Number(value)) => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            (_, Value::Number(value)) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            (_, Value::Buckets(buckets)) => sample.set_histogram(histogram(&buckets)),
        }
        sample
    }
}

fn histogram(buckets: &Buckets) -> proto::Histogram {
    let bucket = |(bound, count): &(f64, u64)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(*count);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.cumulative.iter().map(bucket).collect());
    histogram.set_sample_count(buckets.count);
    histogram.set_sample_sum(buckets.sum);
    histogram
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the format knows no other numbers, and counts far below 2^53 are exact"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn a_page_has_help_type_and_samples_of_each_family() {
        let mut page = Page::default();
        page.add(&table::CERTIFICATE_EXPIRY, []);
        page.add(&table::POOL_IDLE, [Sample::count(["http://a"], 3_usize), Sample::count(["http://b"], 0_usize)]);
        let buckets = Buckets { cumulative: vec![(0.005, 1), (10.0, 2)], count: 3, sum: 20.5 };
        page.add(&table::POOL_CONNECT, [Sample::buckets(["http://a"], buckets)]);
        let idle = "forebay_pool_connections_idle";
        let connect = "forebay_pool_connect_seconds";
        let expected = format!(
            "# HELP {idle} {}\n# TYPE {idle} gauge\n{idle}{{upstream=\"http://a\"}} 3\n{idle}{{upstream=\"http://b\"}} 0\n\
             # HELP {connect} {}\n# TYPE {connect} histogram\n{connect}_bucket{{upstream=\"http://a\",le=\"0.005\"}} 1\n\
             {connect}_bucket{{upstream=\"http://a\",le=\"10\"}} 2\n{connect}_bucket{{upstream=\"http://a\",le=\"+Inf\"}} 3\n\
             {connect}_sum{{upstream=\"http://a\"}} 20.5\n{connect}_count{{upstream=\"http://a\"}} 3\n",
            table::POOL_IDLE.help,
            table::POOL_CONNECT.help
        );
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.add(&table::POOL_WAITING, [Sample::count(["a\"b\\c\nd"], 1_usize)]);
        assert!(page.text().contains(r#"{upstream="a\"b\\c\nd"} 1"#), "{}", page.text());
    }
}
