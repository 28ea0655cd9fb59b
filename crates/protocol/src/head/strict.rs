//! Holds values to the types that PROTOCOL.md says. The decoder of MessagePack takes much for the same: a number or a
//! field's place for a name, an array for a map, bytes for a text. What a client sent by mistake would have
//! a meaning then, and the order of our fields and words would be part of the protocol.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Gives what the deserializer within gives, if it is of the type that is asked for.
pub(super) struct Strict<D>(pub(super) D);

/// A visitor of some types of MessagePack for one within, which refuses all others as it does those that it does not know.
macro_rules! visitor {
    ($name:ident { $($visit:tt)+ }) => {
        struct $name<V>(V);

        impl<'de, V: Visitor<'de>> Visitor<'de> for $name<V> {
            type Value = V::Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }

            $($visit)+
        }
    };
}

/// A visitor of values that the one within takes as they are.
macro_rules! only {
    ($name:ident { $($visit:ident($value:ty))+ }) => {
        visitor!($name {
            $(fn $visit<E: de::Error>(self, value: $value) -> Result<V::Value, E> {
                self.0.$visit(value)
            })+
        });
    };
}

only!(Integer { visit_u64(u64) visit_i64(i64) });
only!(Text { visit_str(&str) visit_borrowed_str(&'de str) });
only!(Bytes { visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) });

visitor!(Map {
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Entries(map))
    }
});

visitor!(Array {
    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Entries(array))
    }
});

// Nil, or what is strict itself.
visitor!(Optional {
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(value))
    }
});

// A word, or a map of one word to what it comes with.
visitor!(Word {
    fn visit_borrowed_str<E: de::Error>(self, word: &'de str) -> Result<V::Value, E> {
        self.0.visit_enum(BorrowedStrDeserializer::new(word))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Entries(map))
    }
});

/// The entries of a map, or of an array, all of them strict.
struct Entries<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        key: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(Seed(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, value: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(Seed(value))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        element: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Seed(element))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Entries<A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        mut self,
        word: V,
    ) -> Result<(V::Value, Self), A::Error> {
        let word = self.next_key_seed(word)?;
        let none = || de::Error::invalid_length(0, &"one word");
        Ok((word.ok_or_else(none)?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(no_word())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        mut self,
        value: T,
    ) -> Result<T::Value, A::Error> {
        let value = self.next_value_seed(value)?;
        match self.next_key::<de::IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(de::Error::invalid_length(2, &"one word")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(no_word())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(no_word())
    }
}

/// A map stands where a word alone does.
fn no_word<E: de::Error>() -> E {
    de::Error::invalid_type(de::Unexpected::Map, &"a word")
}

/// What becomes strict.
struct Seed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(value))
    }
}

/// Has the deserializer within give any value to a visitor of one type.
macro_rules! give {
    ($($method:ident to $only:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.deserialize_any($only(visitor))
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    give! {
        deserialize_u8 to Integer
        deserialize_u16 to Integer
        deserialize_u32 to Integer
        deserialize_u64 to Integer
        deserialize_i8 to Integer
        deserialize_i16 to Integer
        deserialize_i32 to Integer
        deserialize_i64 to Integer
        deserialize_str to Text
        deserialize_string to Text
        deserialize_identifier to Text
        deserialize_bytes to Bytes
        deserialize_byte_buf to Bytes
        deserialize_seq to Array
        deserialize_map to Map
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Map(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Word(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Optional(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! { bool char f32 f64 i128 u128 unit unit_struct tuple tuple_struct }
}
