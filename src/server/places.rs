//! Places for connections: so many in all, a share for each address, and a few that are kept for health checks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::http::network_of;

/// Places that are kept for health checks when all others are taken.
const KEPT: usize = 16;

/// Places of a server.
#[derive(Debug, Clone)]
pub struct Places(Arc<PlacesTaken>);

#[derive(Debug)]
struct PlacesTaken {
    total: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place that a connection has; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    address: IpAddr,
    /// True for one of those that are kept for health checks.
    pub is_kept: bool,
}

impl Places {
    #[must_use]
    pub fn new(total: usize, per_address: usize) -> Self {
        Self(Arc::new(PlacesTaken { total, per_address, taken: Mutex::default() }))
    }

    /// Gives a connection from an address a place; `None` where it has its share, or none is left.
    #[must_use]
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        self.take_within(address, self.0.per_address)
    }

    /// Gives a connection a place whatever its address has already.
    #[must_use]
    pub fn take_any(&self, address: IpAddr) -> Option<Place> {
        self.take_within(address, usize::MAX)
    }

    fn take_within(&self, address: IpAddr, share: usize) -> Option<Place> {
        let address = network_of(address);
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_address.get(&address).copied().unwrap_or(0);
        if own >= share || taken.all >= self.0.total + KEPT {
            return None;
        }
        let is_kept = taken.all >= self.0.total;
        taken.all += 1;
        *taken.by_address.entry(address).or_default() += 1;
        Some(Place { places: self.clone(), address, is_kept })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(own) = taken.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_37_no_address_has_all_places_and_some_are_kept() {
        let places = Places::new(4, 3);
        let take = |text: &str| places.take(text.parse().expect("an address"));
        let mut one: Vec<_> = (0..3).map(|_| take("1.1.1.1").expect("its share")).collect();
        assert!(take("1.1.1.1").is_none() && one.iter().all(|place| !place.is_kept));
        let other = take("2001:db8::1").expect("another address");
        // All are taken: what comes now may ask for health only.
        assert!(take("2001:db8::2").is_some_and(|place| place.is_kept), "a network is one address");
        one.pop();
        assert!(take("2.2.2.2").is_some_and(|place| !place.is_kept));
        drop((one, other));
        assert!(places.0.taken.lock().expect("no panic").by_address.is_empty());
    }
}
