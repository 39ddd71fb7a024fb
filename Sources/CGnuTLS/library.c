/* SPDX-License-Identifier: Apache-2.0 */
#include "CGnuTLS.h"

#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

const char *cgt_library_version(void) { return gnutls_check_version(NULL); }

const char *const cgt_purpose_server = GNUTLS_KP_TLS_WWW_SERVER;
const char *const cgt_purpose_client = GNUTLS_KP_TLS_WWW_CLIENT;

void cgt_quieten(void) { gnutls_global_set_log_level(0); }

bool cgt_cpu_has_aes(void) {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  const unsigned long aes = 1ul << 3, pmull = 1ul << 4; /* HWCAP_AES, HWCAP_PMULL */
  return (getauxval(AT_HWCAP) & (aes | pmull)) == (aes | pmull);
#else
  return false;
#endif
}

void cgt_wipe(void *bytes, size_t count) {
  if (bytes && count) explicit_bzero(bytes, count);
}

void cgt_free(void *pointer) { gnutls_free(pointer); }
