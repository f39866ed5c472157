/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A running machine: its devices, its processor, the main loop, signals and the control socket.
 */
#pragma once

#include "alarm.h"
#include "configuration.h"
#include "control.h"
#include "log.h"
#include "machine.h"
#include "processor.h"

G_BEGIN_DECLS

typedef struct TnWatchdog TnWatchdog;

typedef struct {
  bool paused, watch, no_control;
  const char *control; /* path of the socket, or NULL for the default one */
  const char *trace, *compare, *trace_every; /* lockstep, see trace.h */
  const char *stress;
  const char *log_block; /* hexadecimal, or NULL */
} TnRunOptions;

typedef struct {
  const TnConfig *config;
  TnLog *log;
  TnMachine *machine;
  TnProcessor *processor;
  TnAlarm *alarm; /* real time alone */
  TnControl *control;
  TnWatchdog *watchdog;
  GMainLoop *loop;
  guint signals[3];
  bool paused; /* by the user */
  int code;    /* exit code */
  Trace *trace;
  const char *stress, *log_block;
  struct {
    int64_t time; /* host's, us */
    uint64_t instructions;
    unsigned mips;
  } speed; /* for the title */
} TnRun;

/* Runs the machine to its end; returns the exit code. */
int tn_run (const TnConfig *config, TnLog *log, const TnRunOptions *options);

/* ---- For control and watching, on the main thread without the lock ---- */

void tn_run_pause (TnRun *run);
void tn_run_resume (TnRun *run);
void tn_run_quit (TnRun *run, int code);
/* Swaps at a safe point; file NULL: the same name again. */
bool tn_run_swap (TnRun *run, const char *device, const char *file, GError **error);
/* TnControlFunc: run-control.c */
int tn_run_control (void *run, int argc, char **argv, GString *reply);

/* ---- run-display.c: what the user sees and types ---- */

char *tn_run_title (TnRun *run);
/* Requests, see run-control.c */
int tn_run_screenshot (TnRun *run, char **words, int n, GString *reply);
int tn_run_screen (TnRun *run, char **words, int n, GString *reply);
int tn_run_type (TnRun *run, char **words, int n, GString *reply);
int tn_run_key (TnRun *run, char **words, int n, GString *reply);
int tn_run_mouse (TnRun *run, char **words, int n, GString *reply);

/* ---- watchdog.c: swaps devices whose plugin file changes ---- */

TnWatchdog *tn_watchdog_new (TnRun *run);
void tn_watchdog_free (TnWatchdog *watchdog);

G_END_DECLS
