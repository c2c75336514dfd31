//! A scatter plot as SVG.

use std::path::Path;

use crate::error::WithContext as _;
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::series::PointSeries;

/// One kind of points and its name.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws all series with their names beside them.
pub(crate) fn scatter(path: &Path, x: &str, y: &str, series: &[Series]) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, x, y, series).with_context(|| format!("cannot draw {}", path.display()))?;
    Ok(artifacts::write_atomic(path, |file| file.write_all(svg.as_bytes()))?)
}

fn draw(svg: &mut String, x: &str, y: &str, series: &[Series]) -> Result<()> {
    let fail = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
    let points = || series.iter().flat_map(|series| &series.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
                (low.min(x), high.max(x))
            });
        let room = ((high - low) * 0.08).max(1e-3);
        low - room..high + room
    };
    ensure!(points().next().is_some(), "there are no points");
    let root = SVGBackend::with_string(svg, (820, 460)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| fail(&error))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .margin_right(170)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(range(|point| point.0), range(|point| point.1))
        .map_err(|error| fail(&error))?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .light_line_style(TRANSPARENT)
        .axis_desc_style(("sans-serif", 18))
        .label_style(("sans-serif", 15))
        .draw()
        .map_err(|error| fail(&error))?;
    let n_series = series.len() as f64;
    for (i, series) in series.iter().enumerate() {
        // Neighbours in the circle of colours differ in lightness too.
        let colour = HSLColor(i as f64 / n_series, 0.75, if i % 2 == 0 { 0.36 } else { 0.58 });
        let style = ShapeStyle::from(&colour).filled();
        chart
            .draw_series(PointSeries::<_, _, Circle<_, _>, _>::new(
                series.points.iter().copied(),
                4,
                style,
            ))
            .map_err(|error| fail(&error))?;
        let height = 24 + 20 * i as i32;
        root.draw(&Circle::new((670, height + 6), 4, style))
            .map_err(|error| fail(&error))?;
        let text = ("sans-serif", 17).into_font().color(&BLACK);
        root.draw(&Text::new(series.name.clone(), (682, height), text))
            .map_err(|error| fail(&error))?;
    }
    root.present().map_err(|error| fail(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_name_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        let series = [("one", vec![(0.0, 1.0), (0.5, 2.0)]), ("two", vec![(0.25, 1.5)])].map(|(name, points)| Series {
            name: name.to_owned(),
            points,
        });
        scatter(&path, "x axis", "y axis", &series).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3 + 2, "points and legend");
        for text in ["one", "two", "x axis", "y axis"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(scatter(&path, "x", "y", &[]).is_err());
    }
}
