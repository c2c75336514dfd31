//! Pictures as SVG: a scatter plot, and values with intervals in rows.

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

/// A value with its interval.
pub(crate) struct Mark {
    /// The row that it stands in.
    pub(crate) row: String,
    /// What its colour stands for.
    pub(crate) series: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Rows of values with their intervals, a colour a series, and a line at the level of chance.
pub(crate) fn intervals(path: &Path, x: &str, chance: f64, marks: &[Mark]) -> Result<()> {
    let mut svg = String::new();
    draw_intervals(&mut svg, x, chance, marks).with_context(|| format!("cannot draw {}", path.display()))?;
    Ok(artifacts::write_atomic(path, |file| file.write_all(svg.as_bytes()))?)
}

/// Names in the order of their first mark.
fn names(marks: &[Mark], of: fn(&Mark) -> &String) -> Vec<&String> {
    let mut all: Vec<&String> = Vec::new();
    for name in marks.iter().map(of) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn draw_intervals(svg: &mut String, x: &str, chance: f64, marks: &[Mark]) -> Result<()> {
    const COLOURS: [RGBColor; 4] = [
        RGBColor(0x1f, 0x5f, 0xa8),
        RGBColor(0xd9, 0x7b, 0x1c),
        RGBColor(0x3b, 0x8f, 0x4e),
        RGBColor(0x9a, 0x3d, 0x8a),
    ];
    const STEP: i32 = 13;
    const LEFT: i32 = 150;
    let fail = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
    ensure!(!marks.is_empty(), "there are no values");
    let (rows, series) = (names(marks, |mark| &mark.row), names(marks, |mark| &mark.series));
    let row_height = STEP * series.len() as i32 + 12;
    let (top, bottom) = (20 + 20 * series.len() as i32, 56);
    let height = top + row_height * rows.len() as i32 + bottom;
    let root = SVGBackend::with_string(svg, (820, height as u32)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| fail(&error))?;
    let ends = marks.iter().flat_map(|mark| [mark.low, mark.high]).chain([chance]);
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    let room = ((high - low) * 0.03).max(1e-3);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(top)
        .margin_right(16)
        .margin_left(LEFT)
        .x_label_area_size(bottom)
        .build_cartesian_2d(low - room..high + room, 0..row_height * rows.len() as i32)
        .map_err(|error| fail(&error))?;
    chart
        .configure_mesh()
        .x_desc(x)
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .draw()
        .map_err(|error| fail(&error))?;
    let all = row_height * rows.len() as i32;
    let grey = RGBColor(0x88, 0x88, 0x88);
    chart
        .draw_series([PathElement::new([(chance, 0), (chance, all)], grey.stroke_width(2))])
        .map_err(|error| fail(&error))?;
    for mark in marks {
        let row = rows.iter().position(|name| **name == mark.row).unwrap_or(0) as i32;
        let place = series.iter().position(|name| **name == mark.series).unwrap_or(0);
        let y = all - row * row_height - 10 - STEP * place as i32;
        let colour = COLOURS[place % COLOURS.len()];
        chart
            .draw_series([PathElement::new(
                [(mark.low, y), (mark.high, y)],
                colour.stroke_width(2),
            )])
            .map_err(|error| fail(&error))?;
        chart
            .draw_series([Circle::new((mark.value, y), 4, colour.filled())])
            .map_err(|error| fail(&error))?;
    }
    let text = ("sans-serif", 16).into_font().color(&BLACK);
    for (row, name) in (0..).zip(&rows) {
        let y = top + row * row_height + row_height / 2 - 9;
        root.draw(&Text::new((*name).clone(), (12, y), text.clone()))
            .map_err(|error| fail(&error))?;
    }
    for (place, name) in series.iter().enumerate() {
        let y = 12 + 20 * place as i32;
        root.draw(&Circle::new(
            (LEFT + 8, y + 6),
            4,
            COLOURS[place % COLOURS.len()].filled(),
        ))
        .map_err(|error| fail(&error))?;
        root.draw(&Text::new((*name).clone(), (LEFT + 20, y - 1), text.clone()))
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

    #[test]
    fn every_value_has_its_interval_and_every_row_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        let mark = |row: &str, series: &str, value: f64| Mark {
            row: row.to_owned(),
            series: series.to_owned(),
            value,
            low: value - 0.1,
            high: value + 0.05,
        };
        let marks = [
            mark("detection", "latents", 0.7),
            mark("hard", "latents", 0.6),
            mark("hard", "labels", 0.9),
        ];
        intervals(&path, "area", 0.5, &marks).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3 + 2, "values and legend");
        for text in ["detection", "hard", "latents", "labels", "area"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(intervals(&path, "area", 0.5, &[]).is_err());
    }
}
