/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder against Zydis: for random bytes and for random instructions of each opcode, in 16-
 * and 32-bit code, both must find the same length, and the same instructions must exist.
 *
 *   decode-test [CASES [SEED]]
 *
 * Zydis knows what came after SSE2, so existence is judged by its instruction sets (exists_here), and prefixes that later processors gave a meaning (TZCNT, ENDBR ...) are switched
 * off. 0F 0D, which AMD and later Intel processors take as a prefetch, does not exist here.
 */
#include "insn.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  uint64_t state;
} Random;

static uint32_t
next (Random *r)
{
  r->state = r->state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(r->state >> 33);
}

/* ---- What exists on a Pentium III with SSE2 ---- */

static bool
exists_here (const ZydisDecodedInstruction *z)
{
  switch (z->mnemonic)
    {
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
      return false;
    default:
      break;
    }
  switch (z->meta.isa_set)
    {
    case ZYDIS_ISA_SET_CLFSH:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_PAUSE:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PPRO:
    case ZYDIS_ISA_SET_RDPMC:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE_PREFETCH:
    case ZYDIS_ISA_SET_X87:
      return true;
    default:
      return false;
    }
}

/* ---- Cases ---- */

static void
random_bytes (Random *r, uint8_t *bytes)
{
  for (unsigned n = 0; n < 32; n++)
    bytes[n] = (uint8_t)next (r);
}

/* Some prefixes, an opcode of either map, the rest random. */
static void
random_instruction (Random *r, uint8_t *bytes)
{
  static const uint8_t prefixes[]
      = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
  unsigned n = 0;
  random_bytes (r, bytes);
  while (n < 3 && next (r) % 3 == 0)
    bytes[n++] = prefixes[next (r) % sizeof prefixes];
  if (next (r) % 2)
    bytes[n++] = 0x0f;
}

static void
report (const char *what, const uint8_t *bytes, unsigned bits, int ours, const char *zydis,
        int theirs)
{
  printf ("%s, %u bits:", what, bits);
  for (unsigned n = 0; n < 16; n++)
    printf (" %02x", bytes[n]);
  printf ("  length %d, Zydis %s %d\n", ours, zydis, theirs);
}

static bool
check (const ZydisDecoder *decoder, const uint8_t *bytes, unsigned bits)
{
  ZydisDecodedInstruction z;
  VmmInsn insn = { 0 };
  unsigned decoded = 0;
  int length = vmm_decode (bytes, 32, bits == 32 ? VMM_KEY_CODE32 : 0, &insn, &decoded);
  bool here = length > 0 && insn.handler != vmm_op_ud;
  ZyanStatus status = ZydisDecoderDecodeInstruction (decoder, NULL, bytes, 32, &z);
  bool valid = ZYAN_SUCCESS (status), exists = valid && exists_here (&z);
  if (exists != here)
    {
      report (here ? "exists here only" : "is missing", bytes, bits, length,
              valid ? ZydisMnemonicGetString (z.mnemonic) : "-", valid ? z.length : 0);
      return false;
    }
  if (exists && here && length != z.length)
    {
      report ("length", bytes, bits, length, ZydisMnemonicGetString (z.mnemonic), z.length);
      return false;
    }
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG && length >= 0)
    {
      report ("too long", bytes, bits, length, "-", 0);
      return false;
    }
  return true;
}

static void
init_decoder (ZydisDecoder *decoder, unsigned bits)
{
  static const ZydisDecoderMode later[]
      = { ZYDIS_DECODER_MODE_MPX,   ZYDIS_DECODER_MODE_CET,      ZYDIS_DECODER_MODE_LZCNT,
          ZYDIS_DECODER_MODE_TZCNT, ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE };
  if (bits == 32)
    ZydisDecoderInit (decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  else
    ZydisDecoderInit (decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
  for (unsigned n = 0; n < sizeof later / sizeof later[0]; n++)
    ZydisDecoderEnableMode (decoder, later[n], ZYAN_FALSE);
}

int
main (int argc, char **argv)
{
  unsigned long cases = argc > 1 ? strtoul (argv[1], NULL, 0) : 300000, wrong = 0;
  Random r = { argc > 2 ? strtoul (argv[2], NULL, 0) : 1 };
  ZydisDecoder decoder[2];
  init_decoder (&decoder[0], 16);
  init_decoder (&decoder[1], 32);
  for (unsigned long n = 0; n < cases && wrong < 20; n++)
    {
      uint8_t bytes[32];
      unsigned mode = n & 1;
      if (n % 4 < 2)
        random_bytes (&r, bytes);
      else
        random_instruction (&r, bytes);
      wrong += !check (&decoder[mode], bytes, mode ? 32 : 16);
    }
  printf ("%lu cases, %lu differences\n", cases, wrong);
  return wrong != 0;
}
