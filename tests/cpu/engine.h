/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which engine a test of the processor runs its guest on: `--engine interpret|translate` anywhere
 * before the test's own arguments end, else the environment's TENON_ENGINE, else the interpreter.
 *
 *   engine_option (&argc, argv);     first of all: takes the option out of argv
 *   engine_configure (&config);      before vmm_vcpu_new
 *
 * TENON_STRESS are modes that make the translator's life hard (trace_stress ()); TENON_TRACE and
 * TENON_COMPARE the FIFO between two runs in lockstep, which meet after TENON_TRACE_EVERY instructions
 * (1: at the end of each block), and after TENON_TRACE_RAM compare RAM as well.
 *
 * The choice is kept in the environment, so that what a test starts goes the same way.  An engine
 * that there is not ends the test with 64: a run that was asked for must not pass by another's.
 */
#pragma once

#include "trace.h"
#include "vmm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENGINE_VARIABLE "TENON_ENGINE"

static inline const char *
engine_name (void)
{
  const char *name = getenv (ENGINE_VARIABLE);
  return name && *name ? name : "interpret";
}

static inline bool
engine_exists (const char *name)
{
  return !strcmp (name, "interpret") || !strcmp (name, "translate");
}

/* NULL, or the value of the option that begins at argv[*at]; *at comes to stand behind it. */
static inline const char *
engine_value (int argc, char **argv, int *at)
{
  static const char option[] = "--engine";
  const size_t length = sizeof option - 1;
  const char *a = argv[*at];
  if (strncmp (a, option, length) || (a[length] && a[length] != '='))
    return NULL;
  bool apart = !a[length];
  *at += 1 + apart;
  const char *name = !apart ? a + length + 1 : *at <= argc ? argv[*at - 1] : "";
  return *name ? name : "(none)";
}

static inline void
engine_option (int *argc, char **argv)
{
  int kept = 1, at = 1;
  while (at < *argc && strcmp (argv[at], "--"))
    {
      const char *name = engine_value (*argc, argv, &at);
      if (name)
        setenv (ENGINE_VARIABLE, name, 1);
      else
        argv[kept++] = argv[at++];
    }
  while (at < *argc)
    argv[kept++] = argv[at++];
  argv[*argc = kept] = NULL;
  if (engine_exists (engine_name ()))
    return;
  fprintf (stderr, "%s: there is no engine \"%s\"\n", argv[0], engine_name ());
  exit (64);
}

static Trace *engine_trace;

static inline void
engine_close_trace (void)
{
  if (!trace_close (engine_trace))
    _exit (TRACE_DIFFERS);
}

static inline void
engine_attach_trace (VmmVcpuConfig *config)
{
  const char *write = getenv ("TENON_TRACE"), *compare = getenv ("TENON_COMPARE");
  const char *path = write ? write : compare, *every = getenv ("TENON_TRACE_EVERY");
  if (!path)
    return;
  if (!engine_trace)
    {
      engine_trace = trace_open (path, !write, every ? strtoull (every, NULL, 10) : 1);
      if (!engine_trace)
        {
          perror (path);
          exit (64);
        }
      atexit (engine_close_trace);
    }
  trace_attach (engine_trace, config);
  const char *ram = getenv ("TENON_TRACE_RAM");
  config->trace_ram = ram ? strtoull (ram, NULL, 10) : 1000000;
}

/* Budgets of the tests are exact, whatever the engine. */
static inline void
engine_configure (VmmVcpuConfig *config)
{
  const char *stress = getenv ("TENON_STRESS");
  config->engine
      = strcmp (engine_name (), "translate") ? VMM_ENGINE_INTERPRET : VMM_ENGINE_TRANSLATE;
  config->counted = config->spaces = true;
  if (stress && trace_stress (stress, config))
    {
      fprintf (stderr, "there is no stress mode \"%s\"\n", trace_stress (stress, config));
      exit (64);
    }
  engine_attach_trace (config);
}
