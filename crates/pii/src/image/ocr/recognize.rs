//! Reads a line of text.

use image::RgbImage;
use rten_tensor::NdTensor;

use super::{
    Line,
    frame::{Frame, float},
};
use crate::image::{
    ModelError, NetworkError, Rect,
    network::{Network, Worker, numbers},
};

/// Height in pixels of what the network reads.
const HEIGHT: usize = 48;
/// Narrower lines are filled up with grey to this width: the network was trained that way.
const NARROWEST: usize = 320;
/// Wider lines are squeezed.
const WIDEST: usize = 3200;
/// Columns of pixels for each step of the answer.
const STEP: usize = 8;
/// A line that is read with less confidence is tried in other directions.
const SURE: f32 = 0.9;
/// A region so much higher than wide holds text that is turned by a quarter.
const TALL: f32 = 1.5;

pub(crate) struct Recognizer {
    network: Network,
    /// Characters by class, from class 1 on. Class 0 separates characters.
    characters: Vec<char>,
}

/// A character and the step at which it was read.
struct Read {
    character: char,
    step: f32,
    probability: f32,
}

impl Recognizer {
    /// `keys` is a character a line.
    pub(crate) fn new(model: Vec<u8>, keys: &str) -> Result<Self, ModelError> {
        const MODEL: &str = "text recognition";
        let (network, outputs) = Network::load(MODEL, model, (NARROWEST, HEIGHT))?;
        let unsuitable = |cause: String| ModelError::Unsuitable { model: MODEL, cause };
        let answer = outputs.into_iter().next().and_then(numbers::<3>);
        let Some(([1, steps, classes], _)) = answer else {
            return Err(unsuitable("it does not answer with probabilities of characters".into()));
        };
        if steps != NARROWEST / STEP {
            return Err(unsuitable(format!("it reads {NARROWEST} pixels in {steps} steps")));
        }
        let mut characters =
            keys.lines().map(|line| line.chars().next().unwrap_or(' ')).collect::<Vec<char>>();
        characters.push(' ');
        if characters.len() + 1 != classes {
            let keys = characters.len() - 1;
            return Err(unsuitable(format!(
                "it knows {classes} classes, which do not fit {keys} characters"
            )));
        }
        Ok(Recognizer { network, characters })
    }

    /// Reads the line in a frame, in whichever direction is read with the most confidence.
    pub(crate) fn read(
        &self,
        image: &RgbImage,
        frame: Frame,
        worker: &Worker<'_>,
    ) -> Result<Option<Line>, NetworkError> {
        let quarter = frame.turned();
        let directions = if frame.height >= TALL * frame.width {
            vec![quarter, quarter.turned().turned(), frame]
        } else {
            vec![frame, frame.turned().turned()]
        };
        let mut best: Option<Line> = None;
        for direction in directions {
            let Some(line) = self.read_along(image, &direction, worker)? else { continue };
            let sure = line.confidence >= SURE;
            if best.as_ref().is_none_or(|best| line.confidence > best.confidence) {
                best = Some(line);
            }
            if sure {
                break;
            }
        }
        Ok(best)
    }

    fn read_along(
        &self,
        image: &RgbImage,
        frame: &Frame,
        worker: &Worker<'_>,
    ) -> Result<Option<Line>, NetworkError> {
        let width = columns(frame).clamp(STEP, WIDEST);
        let padded = width.next_multiple_of(STEP).max(NARROWEST);
        let crop = frame.crop(image, width, HEIGHT);
        let mut pixels = vec![0.0; 3 * HEIGHT * padded];
        for (to, from) in pixels.chunks_mut(padded).zip(crop.chunks(width)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from / 127.5 - 1.0);
        }
        let known = self.characters.len() + 1;
        let probabilities =
            self.network.run(&NdTensor::from_data([1, 3, HEIGHT, padded], pixels), worker, |outputs| {
                let ([1, steps, classes], probabilities) =
                    outputs.into_iter().next().and_then(numbers::<3>)?
                else {
                    return None;
                };
                ((steps, classes) == (padded / STEP, known)).then_some(probabilities)
            })?;
        let read = self.decode(&probabilities, known);
        Ok(line(&read, frame, float(width) / float(STEP), image.dimensions()))
    }

    /// Connectionist temporal classification, greedy: the likeliest class of each step, repetitions joined.
    fn decode(&self, probabilities: &[f32], classes: usize) -> Vec<Read> {
        let mut read: Vec<Read> = Vec::new();
        let mut previous = 0;
        let mut since = 0;
        for (step, row) in probabilities.chunks_exact(classes).enumerate() {
            let (class, probability) = likeliest(row);
            if class != previous {
                since = step;
            }
            if class != 0 {
                let step = float(since + step) / 2.0 + 0.5;
                match read.last_mut() {
                    Some(last) if class == previous => {
                        last.step = step;
                        last.probability = last.probability.max(probability);
                    }
                    _ => read.push(Read { character: self.characters[class - 1], step, probability }),
                }
            }
            previous = class;
        }
        read
    }
}

/// Width of a frame when its height is that of what the network reads.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn columns(frame: &Frame) -> usize {
    (frame.width / frame.height.max(1.0) * float(HEIGHT)).ceil() as usize
}

fn likeliest(row: &[f32]) -> (usize, f32) {
    row.iter()
        .copied()
        .enumerate()
        .fold((0, f32::MIN), |best, (class, p)| if p > best.1 { (class, p) } else { best })
}

/// A character's box reaches half-way to its neighbours; the outer ones reach to the ends of the frame.
fn line(read: &[Read], frame: &Frame, steps: f32, size: (u32, u32)) -> Option<Line> {
    if read.is_empty() {
        return None;
    }
    let border = |index: usize| match index {
        0 => 0.0,
        _ if index == read.len() => 1.0,
        _ => (f32::midpoint(read[index - 1].step, read[index].step) / steps).min(1.0),
    };
    let chars =
        (0..read.len()).map(|index| Rect::around(&frame.part(border(index), border(index + 1)), size));
    Some(Line {
        text: read.iter().map(|read| read.character).collect(),
        confidence: read.iter().map(|read| read.probability).sum::<f32>() / float(read.len()),
        chars: chars.collect(),
    })
}
