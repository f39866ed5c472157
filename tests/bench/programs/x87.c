/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs of the x87 unit, compiled without SSE.  The sums are rounded before they are compared:
 * transcendental functions may differ in their last bits from one processor to the next.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ORDER 96

static void
check_sum (Run *run, double sum)
{
  char text[32];
  snprintf (text, sizeof text, "%.7e", sum);
  run_check (run, text, strlen (text));
}

/* Contracting, so that a difference in the last bit dies out instead of growing. */
void
bench_recurrence (Run *run)
{
  double x = 0.5, y = 0.25, sum = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      double t = x * 0.75 + y / (x + 2.0);
      y = sqrt (y * 0.5 + 0.3) - 0.1 * t;
      x = t * (1.25 - 0.5 * t) + 0.125;
      sum += x - y;
    }
  run_stop (run);
  check_sum (run, sum);
}

void
bench_matmul (Run *run)
{
  static double a[ORDER][ORDER], b[ORDER][ORDER], c[ORDER][ORDER];
  uint32_t seed = 7;
  double sum = 0;
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++)
      {
        a[i][j] = (double) (bench_random (&seed) & 0xffff) / 65536.0;
        b[i][j] = (double) (bench_random (&seed) & 0xffff) / 65536.0;
      }
  run_start (run);
  for (unsigned long n = 0; n < run->amount; n++)
    {
      for (int i = 0; i < ORDER; i++)
        for (int j = 0; j < ORDER; j++)
          {
            double dot = 0;
            for (int k = 0; k < ORDER; k++)
              dot += a[i][k] * b[k][j];
            c[i][j] = dot;
          }
      a[n % ORDER][0] = c[n % ORDER][1] / ORDER;
    }
  run_stop (run);
  for (int i = 0; i < ORDER; i++)
    sum += c[i][i] + a[i][0];
  check_sum (run, sum);
}

void
bench_libm (Run *run)
{
  double x = 0, sum = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      sum += sin (x) + exp (-x * 0.01);
      x += 0.0078125;
      if (x > 100)
        x -= 100;
    }
  run_stop (run);
  check_sum (run, sum);
}
