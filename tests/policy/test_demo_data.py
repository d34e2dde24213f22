"""The purchases of the demo: what is shipped, and how a file is read."""

from __future__ import annotations

import gzip
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from sendoff.demo import Purchase, PurchasesError, read_purchases
from sendoff.demo.purchases import parse_purchases

pytestmark = pytest.mark.slow

HEADER = "customer_id,date,quantity,amount_usd"


def test_the_shipped_rows_are_every_row_of_every_tenth_customer():
    """6,787 purchases by the 2,357 customers whose id ends in 0, all between 1997 and mid-1998."""
    purchases = read_purchases()
    customers = Counter(purchase.customer_id for purchase in purchases)
    assert (len(purchases), len(customers)) == (6_787, 2_357)
    assert {name[-1] for name in customers} == {"0"}
    days = [purchase.purchased_on for purchase in purchases]
    assert (min(days), max(days)) == (date(1997, 1, 1), date(1998, 6, 30))
    assert all(purchase.quantity > 0 for purchase in purchases)


def test_ids_keep_their_leading_zeros_and_amounts_are_exact():
    """A customer's id is text of five digits, an amount a Decimal with its two places."""
    purchases = read_purchases()
    assert purchases[0] == Purchase("00010", date(1997, 1, 21), 3, Decimal("39.31"))
    assert {len(purchase.customer_id) for purchase in purchases} == {5}
    assert {purchase.amount_usd.as_tuple().exponent for purchase in purchases} == {-2}


def test_the_shipped_file_carries_no_time_of_its_making():
    """The header of the gzip has the time 0, so that the same rows are the same bytes."""
    from importlib.resources import files

    assert files("sendoff.demo").joinpath("purchases.csv.gz").read_bytes()[4:8] == bytes(4)


def test_the_day_is_an_ordinary_property():
    """The event's own time is left to the dispatcher; the original day goes beside the amount."""
    assert read_purchases(limit=1)[0].properties == {
        "quantity": 3,
        "amount_usd": Decimal("39.31"),
        "purchased_on": date(1997, 1, 21),
    }


def test_a_limit_takes_the_first_rows_and_no_more_than_there_are():
    """The first N rows in order; asking for more names how many there are."""
    assert read_purchases(limit=3) == read_purchases()[:3]
    with pytest.raises(PurchasesError, match="6,788 are more than the 6,787 purchases of the"):
        read_purchases(limit=6_788)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["csv", "gzip"])
def test_a_file_of_ones_own_may_be_gzipped_or_not(tmp_path, pack):
    """What counts is how the file begins, not what it is called."""
    path = tmp_path / "mine"
    path.write_bytes(pack(f"{HEADER}\r\n00007,19970101,1,11.77\r\n".encode()))
    assert read_purchases(path) == [Purchase("00007", date(1997, 1, 1), 1, Decimal("11.77"))]
    with pytest.raises(PurchasesError, match="2 are more than the 1 purchases of mine"):
        read_purchases(path, 2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1 must be customer_id,date,quantity,amount_usd"),
        (["id,day"], "line 1 must be"),
        ([HEADER, "1,19970101,1"], "line 2 is not a purchase"),
        ([HEADER, "1,1997-1-1,1,2.00"], "line 2 is not a purchase"),
        ([HEADER, "1,19970101,1,2.00", "1,19970101,one,2.00"], "line 3 is not a purchase"),
        ([HEADER, "1,19970101,1,two"], "line 2 is not a purchase"),
        ([HEADER, ",19970101,1,2.00"], "line 2 has no customer_id"),
    ],
)
def test_a_row_that_is_no_purchase_is_named(lines, message):
    """The message holds the number of the line."""
    with pytest.raises(PurchasesError, match=message):
        list(parse_purchases(lines))


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"\x1f\x8b broken", gzip.compress(b"x", mtime=0)[:-4]]
)
def test_a_file_that_is_no_text_is_refused(tmp_path, data):
    """Broken compression and broken text are the same kind of error as a broken row."""
    path = tmp_path / "purchases"
    path.write_bytes(data)
    with pytest.raises(PurchasesError, match="the file is no CSV, gzipped or not"):
        read_purchases(path)
