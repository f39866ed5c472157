/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * records: systems programming.  A store of parts takes orders: a part is found by its label, its
 * record copied, changed by small procedures and put back, and a ledger kept.  Records, pointers,
 * enumerations, short strings compared and copied by the C library, and calls that the compiler is
 * kept from inlining.
 */
#include "bench.h"

#include <string.h>

#define PARTS 4
#define LABEL 32
#define DIGIT 27 /* place of a label's number */

typedef enum { BOLT, GEAR, SPRING, WHEEL, KINDS } Kind;

typedef struct Part {
  struct Part *next;
  char label[LABEL];
  Kind kind;
  int32_t stock;
  int32_t price;
  int32_t sales[6];
} Part;

typedef struct {
  Part parts[PARTS];
  Part *first;
  int32_t ledger[KINDS][16];
  int32_t orders;
  int32_t missed;
} Store;

typedef struct {
  char label[LABEL];
  int32_t pieces;
} Order;

#define PROCEDURE __attribute__ ((noipa)) static

PROCEDURE void
write_order (Order *order, uint32_t number)
{
  static const char form[LABEL] = "LABEL OF A PART IN STOCK, #?.";
  strcpy (order->label, form);
  order->label[DIGIT] = (char) ('0' + number % PARTS);
  order->pieces = (int32_t) (number >> 3 & 7) + 1;
}

PROCEDURE bool
is_label (const char *text)
{
  return text[0] == 'L' && text[DIGIT] >= '0' && text[DIGIT] <= '9' && text[DIGIT + 1] == '.';
}

PROCEDURE Part *
find_part (Store *store, const char *label)
{
  for (Part *part = store->first; part; part = part->next)
    if (strcmp (part->label, label) == 0)
      return part;
  return NULL;
}

PROCEDURE int32_t
discount (Kind kind, int32_t pieces)
{
  switch (kind)
    {
    case BOLT: return pieces > 4 ? 20 : 5;
    case GEAR: return pieces;
    case SPRING: return pieces & 1 ? 3 : 0;
    default: return 0;
    }
}

PROCEDURE bool
take (int32_t *stock, int32_t pieces)
{
  if (*stock < pieces)
    return false;
  *stock -= pieces;
  return true;
}

PROCEDURE int32_t
sum_up (const int32_t *values, int count)
{
  int32_t sum = 0;
  for (int i = 0; i < count; i++)
    sum += values[i];
  return sum;
}

PROCEDURE void
enter (Store *store, const Part *part, int32_t amount)
{
  int32_t *row = store->ledger[part->kind];
  row[store->orders & 15] += amount;
  if ((store->orders & 15) == 15)
    row[0] = sum_up (row, 16) / 16;
}

PROCEDURE void
sell (Store *store, Part *part, const Order *order)
{
  Part changed = *part;
  int32_t cost = changed.price * order->pieces;
  if (!take (&changed.stock, order->pieces))
    {
      changed.stock += 50;
      changed.price += 1;
      store->missed++;
    }
  cost -= cost * discount (changed.kind, order->pieces) / 100;
  changed.sales[store->orders % 6] = cost;
  enter (store, &changed, cost);
  *part = changed;
}

PROCEDURE void
serve (Store *store, uint32_t number)
{
  Order order;
  write_order (&order, number);
  store->orders++;
  if (!is_label (order.label))
    return;
  Part *part = find_part (store, order.label);
  if (part)
    sell (store, part, &order);
}

static void
open_store (Store *store)
{
  for (int i = 0; i < PARTS; i++)
    {
      Part *part = &store->parts[i];
      Order order;
      write_order (&order, (uint32_t) i);
      *part = (Part){ .next = store->first, .kind = (Kind) (i % KINDS), .price = 10 + 7 * i };
      strcpy (part->label, order.label);
      store->first = part;
    }
}

void
bench_records (Run *run)
{
  static Store store;
  uint32_t seed = 5;
  open_store (&store);
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    serve (&store, bench_random (&seed));
  run_stop (run);
  run_check (run, store.ledger, sizeof store.ledger);
  run_check (run, &store.missed, sizeof store.missed);
  for (int i = 0; i < PARTS; i++)
    {
      run_check (run, store.parts[i].sales, sizeof store.parts[i].sales);
      run_check (run, store.parts[i].label, sizeof store.parts[i].label);
    }
}
