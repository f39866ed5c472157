/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the floppy controller share: registers, commands and results (fdc.c), the
 * execution of commands on sectors (execute.c), and the drives with their media (drive.c).
 */
#pragma once

#include <tenon/tenon.h>

#define FDC_DRIVES 4      /* that commands can name ... */
#define FDC_CONNECTORS 2  /* ... and that a PC's cable has room for */
#define FDC_SECTOR 1024   /* the largest sector of any medium here */
#define FDC_LAST_TRACK 84 /* where the head of an 80-track drive meets its stop */
#define FDC_COMMAND 9
#define FDC_RESULT 10

/* Numbers of CMOS byte 10h. */
typedef enum {
  DRIVE_NONE,
  DRIVE_360K,
  DRIVE_1200K,
  DRIVE_720K,
  DRIVE_1440K,
  DRIVE_2880K,
  DRIVE_AUTO,
} FdcDriveType;

typedef enum { DENSITY_DOUBLE, DENSITY_HIGH, DENSITY_EXTRA } FdcDensity;

/* How a medium is formatted; a raw image's size tells which one it is. */
typedef struct {
  const char *name;
  uint8_t cylinders, heads, sectors, size_code; /* a sector has 128 << size_code bytes */
  FdcDensity density;
  FdcDriveType drive; /* the kind of drive that it is made for */
} FdcFormat;

typedef struct Fdc Fdc;

typedef struct {
  Fdc *fdc;
  unsigned number;
  TnBlock *block;          /* NULL: no drive */
  uint8_t type;            /* FdcDriveType; auto's is that of the first medium */
  const FdcFormat *format; /* of the medium; NULL: none, or none that this drive can read */
  uint64_t size;           /* bytes of the image */
  bool read_only;
  TnTimer *seek_timer;

  uint8_t track;    /* where the head is */
  bool changed;     /* the line DSKCHG */
  uint8_t pcn;      /* where the controller thinks that it is */
  bool seeking;     /* step pulses are going out until ... */
  int64_t seek_due; /* ... this time; then: */
  uint8_t seek_steps, seek_pcn;
  bool seek_in;   /* towards the hub */
  bool calibrate; /* RECALIBRATE: ends with EC where track 0 is not reached */
  bool implied;   /* by a read or write, which goes on after it */
  bool ended;     /* SENSE INTERRUPT STATUS has not asked for the result yet: */
  uint8_t seek_status;
} FdcDrive;

/* What is done between the last byte of a command and its result. */
typedef enum {
  STAGE_NONE,
  STAGE_SEEK,       /* implied seek */
  STAGE_STILL,      /* the medium does not turn: no index pulse will ever come */
  STAGE_SEARCH,     /* until the sector comes to the head */
  STAGE_FETCH,      /* the image's bytes are on their way */
  STAGE_PASS,       /* until the sector has passed the head */
  STAGE_TO_HOST,    /* bytes go to the host */
  STAGE_FROM_HOST,  /* bytes come from the host */
  STAGE_PASS_WRITE, /* they are complete; until the sector has passed */
  STAGE_STORE,      /* the image's bytes are being written */
  STAGE_NEXT,       /* the sector is done */
  STAGE_INDEX,      /* FORMAT TRACK waits for the index */
  STAGE_READ_ID,    /* until the next address mark */
  STAGE_FAIL,       /* until the error in st[] is noticed */
  N_STAGES,
} FdcStage;

struct Fdc {
  TnDevice *device;
  /* properties */
  uint32_t port, irq, dma_channel;
  bool fast, any_rate;
  const char *links[FDC_CONNECTORS];
  uint32_t types[FDC_CONNECTORS];

  TnLine *line;
  TnDma *dma;
  TnTimer *reset_timer, *stage_timer, *pulse_timer;
  FdcDrive drives[FDC_DRIVES];

  uint8_t dor, tdr, dsr; /* dsr: without its reset bit; bits 1:0 are the rate, of CCR too */
  bool rate_known;       /* the guest has set it since the hardware reset */
  bool resetting;        /* the controller is not ready before reset_due */
  int64_t reset_due;
  uint8_t poll;    /* drives whose change after a reset has not been sensed */
  bool irq_result; /* until the first byte of the result is read */
  bool irq_sense;  /* until SENSE INTERRUPT STATUS */

  uint8_t command[FDC_COMMAND], n_command, n_expected;
  uint8_t result[FDC_RESULT], n_result, result_pos;

  /* SPECIFY, CONFIGURE, LOCK, PERPENDICULAR MODE */
  uint8_t specify[2], configure, precompensation, perpendicular;
  bool lock, configured; /* CONFIGURE has come since the reset */

  /* Execution */
  uint8_t stage;
  int64_t stage_due;     /* TN_TIME_NEVER while another event is waited for */
  int64_t sector_end;    /* when the sector under the head has passed */
  uint8_t c, h, r, head; /* address of the sector, and the side that is read */
  uint8_t st[3];
  uint8_t left; /* sectors still to be formatted, verified or read by READ TRACK */
  uint8_t scan; /* result of SCAN so far: ST2_SH, ST2_SN or 0 */
  bool terminal_count, wrong_mark;
  uint8_t buffer[FDC_SECTOR]; /* between host and disk */
  uint8_t sector[FDC_SECTOR]; /* what SCAN compares with */
  uint16_t pos, length;
  bool pulse; /* without DMA and FIFO: the interrupt of the next byte is due */
  int64_t pulse_due;

  /* The request to the back end: one at a time, with a buffer of its own. */
  uint8_t io[FDC_SECTOR];
  bool io_busy, io_stale; /* stale: the command that wanted it was given up */
  bool io_again;          /* ... and another one waits */
};

enum {
  DOR_DRIVE = 0x03,
  DOR_RUN = 0x04, /* nRESET */
  DOR_GATE = 0x08,
  DOR_MOTORS = 0xf0,

  DSR_RATE = 0x03,
  DSR_POWER_DOWN = 0x40,
  DSR_RESET = 0x80,

  MSR_CB = 0x10,
  MSR_NDMA = 0x20,
  MSR_DIO = 0x40,
  MSR_RQM = 0x80,

  DIR_CHANGED = 0x80,

  ST0_HEAD = 0x04,
  ST0_EC = 0x10,
  ST0_SE = 0x20,
  ST0_ABNORMAL = 0x40,
  ST0_INVALID = 0x80,
  ST0_POLL = 0xc0,
  ST1_MA = 0x01,
  ST1_NW = 0x02,
  ST1_ND = 0x04,
  ST1_OR = 0x10,
  ST1_DE = 0x20,
  ST1_EN = 0x80,
  ST2_MD = 0x01,
  ST2_BC = 0x02,
  ST2_SN = 0x04,
  ST2_SH = 0x08,
  ST2_WC = 0x10,
  ST2_DD = 0x20,
  ST2_CM = 0x40,
  ST3_HEAD = 0x04,
  ST3_TWO_SIDED = 0x08,
  ST3_TRACK_0 = 0x10,
  ST3_READY = 0x20,
  ST3_PROTECTED = 0x40,

  SPECIFY_ND = 0x01, /* of the second byte: no DMA */
  CONFIGURE_THRESHOLD = 0x0f,
  CONFIGURE_NO_POLL = 0x10,
  CONFIGURE_NO_FIFO = 0x20,
  CONFIGURE_IMPLIED_SEEK = 0x40,
  CONFIGURE_KEPT = 0x7f,

  RATE_500K = 0,
  RATE_300K = 1,
  RATE_250K = 2,
  RATE_1M = 3,

  COMMAND_MT = 0x80,
  COMMAND_MFM = 0x40,
  COMMAND_SK = 0x20,
  COMMAND_CODE = 0x1f,
};

/* Commands, without MT, MFM and SK. */
enum {
  CMD_READ_TRACK = 0x02,
  CMD_SPECIFY = 0x03,
  CMD_SENSE_DRIVE = 0x04,
  CMD_WRITE = 0x05,
  CMD_READ = 0x06,
  CMD_RECALIBRATE = 0x07,
  CMD_SENSE_INTERRUPT = 0x08,
  CMD_WRITE_DELETED = 0x09,
  CMD_READ_ID = 0x0a,
  CMD_READ_DELETED = 0x0c,
  CMD_FORMAT = 0x0d,
  CMD_DUMPREG = 0x0e,
  CMD_SEEK = 0x0f,
  CMD_VERSION = 0x10,
  CMD_SCAN_EQUAL = 0x11,
  CMD_PERPENDICULAR = 0x12,
  CMD_CONFIGURE = 0x13,
  CMD_UNLOCK = 0x14,
  CMD_VERIFY = 0x16,
  CMD_SCAN_LOW = 0x19,
  CMD_SCAN_HIGH = 0x1d,
  CMD_LOCK = 0x94,
  CMD_SEEK_OUT = 0x8f, /* relative */
  CMD_SEEK_IN = 0xcf,
};

/* ---- drive.c ---- */

bool fdc_drive_init (FdcDrive *d, Fdc *f, unsigned number, GError **error);
/* RESET# does not reach a drive: only what the controller knows of it is reset. */
void fdc_drive_reset (FdcDrive *d);
bool fdc_drive_restored (FdcDrive *d);
/* A medium is in, the motor runs: index pulses come. */
bool fdc_drive_turns (const FdcDrive *d);
/* The physical cylinder under the head as its IDs name it; false where nothing can be read at the
   controller's data rate and encoding. */
bool fdc_drive_readable (const FdcDrive *d, unsigned head, bool mfm, uint8_t *cylinder);
int64_t fdc_drive_rotation (const FdcDrive *d);
/* The next time at which slot n of so many on a track comes to the head. */
int64_t fdc_drive_next_slot (const FdcDrive *d, unsigned n, unsigned slots);
/* Starts step pulses; fdc_seek_ended () follows, and more pulses than that are lost at the stop. */
void fdc_drive_seek (FdcDrive *d, unsigned steps, bool in, uint8_t pcn);
void fdc_drive_recalibrate (FdcDrive *d);
/* Starts an implied seek if a command for `cylinder` is to have one. */
bool fdc_drive_implied_seek (FdcDrive *d, uint8_t cylinder);

/* ---- execute.c ---- */

void fdc_execute (Fdc *f);
/* A motor was switched. */
void fdc_execute_motors (Fdc *f);
/* The medium of the command's drive was changed. */
void fdc_execute_medium (Fdc *f);
/* Gives up what is under way (reset). */
void fdc_execute_abort (Fdc *f);
void fdc_stage_event (void *self, void *data);
void fdc_implied_seek_ended (Fdc *f);
bool fdc_execute_restored (Fdc *f);
/* A byte of the data phase without DMA. */
uint8_t fdc_pio_read (Fdc *f);
void fdc_pio_write (Fdc *f, uint8_t byte);
size_t fdc_dma_transfer (void *self, uint8_t *data, size_t size, bool to_memory, bool tc,
                         void *user);
/* Raises or lowers DREQ as stage and gate want it. */
void fdc_update_request (Fdc *f);

/* ---- fdc.c ---- */

void fdc_update_irq (Fdc *f);
void fdc_seek_ended (FdcDrive *d);
/* Ends the command with so many bytes in f->result. */
void fdc_finish (Fdc *f, unsigned n_result, bool interrupt);

static inline FdcDrive *
fdc_selected (Fdc *f)
{
  return &f->drives[f->command[1] & DOR_DRIVE];
}

static inline uint8_t
fdc_code (const Fdc *f)
{
  return f->command[0] & COMMAND_CODE;
}
