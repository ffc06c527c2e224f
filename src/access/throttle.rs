use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use base::{Digest, Timestamp};

/// Attempts that cost no waiting.
const FREE_ATTEMPTS: u32 = 5;
const FIRST_WAIT_MS: i64 = 1_000;
/// An account is slowed down less than an address: a stranger must not be able to lock its owner out for long.
const LONGEST_ACCOUNT_WAIT_MS: i64 = 30_000;
const LONGEST_ADDRESS_WAIT_MS: i64 = 15 * 60_000;
/// After this long without an attempt everything is forgotten.
const MEMORY_MS: i64 = 24 * 3_600_000;
const MAX_ENTRIES: usize = 4096;

/// How long to wait before the next attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    pub seconds: u64,
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many attempts; try again in {} s", self.seconds)
    }
}

/// Slows down guessing: after five free attempts the wait doubles with each, per account and per address.
///
/// An address is an IPv4 address or an IPv6 /64, which is what one household or one attacker gets.
#[derive(Debug, Default)]
pub struct LoginThrottle(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    accounts: Table<Digest>,
    addresses: Table<IpAddr>,
}

impl LoginThrottle {
    /// Starts with nothing remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for one attempt, before the password is looked at. It counts as failed until [`Self::succeeded`] is called,
    /// so that a hundred guesses sent at once count as a hundred. A refused attempt does not count.
    pub fn attempt(&self, account: &str, address: IpAddr, now: Timestamp) -> Result<(), RetryAfter> {
        let mut tables = self.lock();
        let (account, address) = (account_key(account), network(address));
        let wait_ms = tables.accounts.wait_ms(&account, now, LONGEST_ACCOUNT_WAIT_MS).max(tables.addresses.wait_ms(
            &address,
            now,
            LONGEST_ADDRESS_WAIT_MS,
        ));
        if wait_ms > 0 {
            return Err(RetryAfter { seconds: u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000) });
        }
        tables.accounts.count(account, now);
        tables.addresses.count(address, now);
        Ok(())
    }

    /// Forgets the failures of an account that logged in, and of the address it came from.
    pub fn succeeded(&self, account: &str, address: IpAddr) {
        let mut tables = self.lock();
        tables.accounts.0.remove(&account_key(account));
        tables.addresses.0.remove(&network(address));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accounts are kept by digest: a stranger's megabyte of "name" takes 32 bytes, and a password typed into the wrong field
/// is not kept.
fn account_key(account: &str) -> Digest {
    Digest::of(account.as_bytes())
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    fn is_forgotten(&self, now: Timestamp) -> bool {
        now.millis().saturating_sub(self.last.millis()) > MEMORY_MS
    }
}

#[derive(Debug)]
struct Table<K>(HashMap<K, Failures>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    fn wait_ms(&self, key: &K, now: Timestamp, longest_ms: i64) -> i64 {
        let Some(failures) = self.0.get(key).filter(|failures| !failures.is_forgotten(now)) else {
            return 0;
        };
        let Some(doublings) = failures.count.checked_sub(FREE_ATTEMPTS) else {
            return 0;
        };
        let wait_ms = FIRST_WAIT_MS.saturating_mul(1_i64 << doublings.min(40)).min(longest_ms);
        // A clock set back must not stretch the wait.
        let passed_ms = now.millis().saturating_sub(failures.last.millis()).max(0);
        wait_ms.saturating_sub(passed_ms).max(0)
    }

    fn count(&mut self, key: K, now: Timestamp) {
        if !self.0.contains_key(&key) && self.0.len() >= MAX_ENTRIES {
            self.make_room(now);
        }
        let failures = self.0.entry(key).or_insert(Failures { count: 0, last: now });
        if failures.is_forgotten(now) {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Drops what is forgotten anyway; failing that, the entry with the fewest failures, so that a flood of fresh names
    /// cannot push out the account under attack.
    fn make_room(&mut self, now: Timestamp) {
        self.0.retain(|_, failures| !failures.is_forgotten(now));
        if self.0.len() < MAX_ENTRIES {
            return;
        }
        let least =
            self.0.iter().min_by_key(|(_, failures)| (failures.count, failures.last)).map(|(key, _)| key.clone());
        if let Some(key) = least {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waiting_doubles_per_account_and_ends_at_its_most() {
        let throttle = LoginThrottle::new();
        let mut now = 0;
        let mut waits = Vec::new();
        for guess in 0..14_u8 {
            // Each guess from another address: only the account slows it down.
            let from = address(&format!("10.0.0.{guess}"));
            if let Err(wait) = throttle.attempt("admin", from, at(now)) {
                waits.push(wait.seconds);
                now += i64::try_from(wait.seconds).unwrap();
                throttle.attempt("admin", from, at(now)).unwrap();
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn an_address_is_slowed_down_whatever_names_it_tries() {
        let throttle = LoginThrottle::new();
        let from = address("2001:db8::1");
        let mut now = 0;
        for name in 0..30 {
            if let Err(wait) = throttle.attempt(&name.to_string(), from, at(now)) {
                now += i64::try_from(wait.seconds).unwrap();
                throttle.attempt(&name.to_string(), from, at(now)).unwrap();
            }
        }
        assert_eq!(throttle.attempt("x", from, at(now)), Err(RetryAfter { seconds: 900 }));
        // The rest of the /64 is the same attacker, the next /64 is not.
        assert!(throttle.attempt("x", address("2001:db8::ffff:2"), at(now)).is_err());
        assert!(throttle.attempt("x", address("2001:db8:0:1::1"), at(now)).is_ok());
        assert!(throttle.attempt("x", from, at(now + 900)).is_ok());
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_the_same() {
        let throttle = LoginThrottle::new();
        for _ in 0..5 {
            throttle.attempt("a", address("192.0.2.1"), at(0)).unwrap();
        }
        assert!(throttle.attempt("b", address("::ffff:192.0.2.1"), at(0)).is_err());
    }

    #[test]
    fn success_and_a_day_of_quiet_forget() {
        let throttle = LoginThrottle::new();
        let from = address("10.0.0.1");
        for _ in 0..5 {
            throttle.attempt("admin", from, at(0)).unwrap();
        }
        assert!(throttle.attempt("admin", from, at(0)).is_err());
        throttle.succeeded("admin", from);
        for _ in 0..5 {
            throttle.attempt("admin", from, at(0)).unwrap();
        }
        assert!(throttle.attempt("admin", from, at(0)).is_err());
        for _ in 0..5 {
            throttle.attempt("admin", from, at(25 * 3600)).unwrap();
        }
        assert!(throttle.attempt("admin", from, at(25 * 3600)).is_err());
    }

    #[test]
    fn a_clock_set_back_stretches_no_wait() {
        let throttle = LoginThrottle::new();
        for _ in 0..5 {
            throttle.attempt("admin", address("10.0.0.1"), at(1_000_000)).unwrap();
        }
        assert_eq!(throttle.attempt("admin", address("10.0.0.1"), at(0)), Err(RetryAfter { seconds: 1 }));
    }

    #[test]
    fn a_flood_neither_fills_memory_nor_hides_the_account_under_attack() {
        let throttle = LoginThrottle::new();
        for guess in 0..5_u8 {
            throttle.attempt("admin", address(&format!("10.0.0.{guess}")), at(0)).unwrap();
        }
        for flood in 0..5_000_u32 {
            let from = IpAddr::V4(std::net::Ipv4Addr::from_bits(0xC000_0000 + flood));
            throttle.attempt(&format!("name {flood}"), from, at(0)).unwrap();
        }
        assert!(throttle.attempt("admin", address("10.9.9.9"), at(0)).is_err());
        let tables = throttle.lock();
        assert_eq!((tables.accounts.0.len(), tables.addresses.0.len()), (MAX_ENTRIES, MAX_ENTRIES));
    }
}
