/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Integer programs: what a compiler makes of ordinary C, bound by the processor and its first
 * cache.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* core-mix: the four kinds of work of an embedded program, each on little data. */

#define NODES 96
#define ORDER 12

typedef struct Node {
  struct Node *next;
  int16_t value;
  int16_t index;
} Node;

typedef int (*Compare) (const Node *a, const Node *b);

typedef struct {
  Node nodes[NODES];
  int16_t a[ORDER * ORDER], b[ORDER * ORDER];
  int32_t product[ORDER * ORDER];
  char text[256];
} Mix;

static int
by_value (const Node *a, const Node *b)
{
  return a->value != b->value ? a->value - b->value : a->index - b->index;
}

static int
by_index (const Node *a, const Node *b)
{
  return a->index - b->index;
}

static Node *
list_make (Mix *mix, uint32_t seed)
{
  for (int i = 0; i < NODES; i++)
    mix->nodes[i] = (Node){ .next = i + 1 < NODES ? &mix->nodes[i + 1] : NULL,
                            .value = (int16_t) (bench_random (&seed) & 0x3ff),
                            .index = (int16_t) i };
  return mix->nodes;
}

static Node *
list_reverse (Node *list)
{
  Node *result = NULL;
  while (list)
    {
      Node *next = list->next;
      list->next = result;
      result = list;
      list = next;
    }
  return result;
}

static Node *
list_merge (Node *a, Node *b, Compare compare)
{
  Node *result = NULL, **end = &result;
  while (a && b)
    {
      Node **from = compare (a, b) <= 0 ? &a : &b;
      *end = *from;
      end = &(*from)->next;
      *from = *end;
    }
  *end = a ? a : b;
  return result;
}

static Node *
list_sort (Node *list, int length, Compare compare)
{
  if (length < 2)
    {
      if (list)
        list->next = NULL;
      return list;
    }
  Node *second = list;
  for (int i = 0; i < length / 2; i++)
    second = second->next;
  Node *tail = list_sort (second, length - length / 2, compare);
  return list_merge (list_sort (list, length / 2, compare), tail, compare);
}

static int
list_find (const Node *list, int value)
{
  int steps = 0;
  while (list && list->value != value)
    {
      list = list->next;
      steps++;
    }
  return list ? list->index : -steps;
}

static uint32_t
mix_lists (Mix *mix, uint32_t seed)
{
  Node *list = list_make (mix, seed);
  uint32_t sum = 0;
  for (int value = 0; value < 16; value++)
    {
      sum = sum * 31 + (uint32_t) list_find (list, value * 61 & 0x3ff);
      list = list_reverse (list);
    }
  list = list_sort (list, NODES, by_value);
  for (const Node *node = list; node; node = node->next)
    sum = sum * 33 ^ (uint32_t) node->index;
  list = list_sort (list, NODES, by_index);
  return sum + (uint32_t) list->value;
}

static uint32_t
mix_matrices (Mix *mix, uint32_t seed)
{
  uint32_t sum = 0;
  for (int i = 0; i < ORDER * ORDER; i++)
    {
      mix->a[i] = (int16_t) bench_random (&seed);
      mix->b[i] = (int16_t) (bench_random (&seed) >> 4);
    }
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++)
      {
        int32_t dot = 0;
        for (int k = 0; k < ORDER; k++)
          dot += (mix->a[i * ORDER + k] * mix->b[k * ORDER + j]) >> 6;
        mix->product[i * ORDER + j] = dot;
      }
  for (int i = 0; i < ORDER * ORDER; i++)
    sum += ((uint32_t) mix->product[i] >> 3 & 0x7f) ^ sum << 1;
  return sum;
}

static void
make_numbers (char *text, size_t size, uint32_t seed)
{
  static const char *const words[] = { "5012", "-874", "+1.25", "0x7fe",    "1e-10", "-7.e3",
                                       "12a4", "0.",   ".5e+7", "99999999", "--3",   "3.1.4" };
  size_t length = 0;
  while (length + 12 < size)
    {
      const char *word = words[bench_random (&seed) % (sizeof words / sizeof *words)];
      size_t n = strlen (word);
      memcpy (text + length, word, n);
      length += n;
      text[length++] = ',';
    }
  text[length] = '\0';
}

typedef enum {
  START,
  SIGN,
  INTEGER,
  POINT,
  FRACTION,
  EXPONENT,
  EXPONENT_SIGN,
  POWER,
  HEX,
  INVALID,
  STATES
} State;

static State
next_state (State state, char c)
{
  bool digit = c >= '0' && c <= '9', sign = c == '+' || c == '-';
  switch (state)
    {
    case START: return digit ? INTEGER : sign ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN: return digit ? INTEGER : c == '.' ? POINT : INVALID;
    case INTEGER:
      return digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : c == 'x' ? HEX : INVALID;
    case POINT: return digit ? FRACTION : INVALID;
    case FRACTION: return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT: return digit ? POWER : sign ? EXPONENT_SIGN : INVALID;
    case EXPONENT_SIGN:
    case POWER: return digit ? POWER : INVALID;
    case HEX: return digit || (c >= 'a' && c <= 'f') ? HEX : INVALID;
    default: return INVALID;
    }
}

static uint32_t
mix_states (Mix *mix, uint32_t seed)
{
  uint32_t seen[STATES] = { 0 }, ended[STATES] = { 0 }, sum = 0;
  State state = START;
  make_numbers (mix->text, sizeof mix->text, seed);
  for (const char *p = mix->text; *p; p++)
    {
      if (*p == ',')
        {
          ended[state]++;
          state = START;
          continue;
        }
      state = next_state (state, *p);
      seen[state]++;
    }
  for (int i = 0; i < STATES; i++)
    sum = sum * 17 + seen[i] * 5 + ended[i];
  return sum;
}

static uint16_t
crc16 (uint16_t crc, uint32_t value)
{
  for (int i = 0; i < 32; i++)
    {
      bool carry = ((crc ^ value) & 1) != 0;
      crc >>= 1;
      value >>= 1;
      if (carry)
        crc ^= 0xa001;
    }
  return crc;
}

void
bench_core_mix (Run *run)
{
  static Mix mix;
  uint16_t crc = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      uint32_t seed = crc + (uint32_t) i;
      crc = crc16 (crc, mix_lists (&mix, seed));
      crc = crc16 (crc, mix_matrices (&mix, seed));
      crc = crc16 (crc, mix_states (&mix, seed));
      for (int row = 0; row < ORDER; row++)
        crc = crc16 (crc, (uint32_t) mix.product[row * (ORDER + 1)]);
    }
  run_stop (run);
  run_check (run, &crc, sizeof crc);
}

static int
compare_integers (const void *a, const void *b)
{
  int32_t x = *(const int32_t *) a, y = *(const int32_t *) b;
  return (x > y) - (x < y);
}

void
bench_qsort (Run *run)
{
  int32_t *numbers = malloc (run->amount * sizeof *numbers);
  uint32_t seed = 1;
  if (!numbers)
    run_fail (run, "no memory");
  for (unsigned long i = 0; i < run->amount; i++)
    numbers[i] = (int32_t) (bench_random (&seed) << 8 ^ bench_random (&seed));
  run_start (run);
  qsort (numbers, run->amount, sizeof *numbers, compare_integers);
  run_stop (run);
  run_check (run, numbers, (run->amount < 10000 ? run->amount : 10000) * sizeof *numbers);
  free (numbers);
}

void
bench_lcg (Run *run)
{
  uint32_t x = 1, sum = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      x = x * 1664525u + 1013904223u;
      sum += x >> 16;
    }
  run_stop (run);
  run_check (run, &sum, sizeof sum);
}

__attribute__ ((noipa, optimize ("no-optimize-sibling-calls"))) static uint32_t
fibonacci (uint32_t n)
{
  return n < 2 ? n : fibonacci (n - 1) + fibonacci (n - 2);
}

void
bench_calls (Run *run)
{
  uint32_t sum = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    sum += fibonacci (27);
  run_stop (run);
  run_check (run, &sum, sizeof sum);
}

/* dispatch: a machine with an accumulator, four registers and a jump, run by a switch. */

typedef enum {
  OP_LOAD,
  OP_STORE,
  OP_ADD,
  OP_XOR,
  OP_SHIFT,
  OP_IMMEDIATE,
  OP_DECREMENT,
  OP_LOOP,
  OP_END
} Op;

static uint32_t
interpret (const uint8_t *code, uint32_t r[4])
{
  uint32_t a = 0;
  for (size_t pc = 0;;)
    {
      uint8_t op = code[pc], n = code[pc + 1];
      pc += 2;
      switch (op)
        {
        case OP_LOAD: a = r[n & 3]; break;
        case OP_STORE: r[n & 3] = a; break;
        case OP_ADD: a += r[n & 3]; break;
        case OP_XOR: a ^= r[n & 3]; break;
        case OP_SHIFT: a = a << 7 | a >> 25; break;
        case OP_IMMEDIATE: a += n; break;
        case OP_DECREMENT: r[n & 3]--; break;
        case OP_LOOP:
          if (r[3])
            pc = n;
          break;
        default: return a;
        }
    }
}

void
bench_dispatch (Run *run)
{
  static const uint8_t code[] = { OP_LOAD,  0, OP_ADD,       1, OP_SHIFT, 0, OP_STORE, 1, OP_XOR, 2,
                                  OP_STORE, 2, OP_IMMEDIATE, 7, OP_STORE, 0, OP_LOAD,  2, OP_ADD, 3,
                                  OP_STORE, 2, OP_DECREMENT, 3, OP_LOOP,  0, OP_END,   0 };
  uint32_t r[4] = { 1, 2, 3, 0 }, sum = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      r[3] = 4000;
      sum ^= interpret (code, r);
    }
  run_stop (run);
  run_check (run, &sum, sizeof sum);
  run_check (run, r, sizeof r);
}
