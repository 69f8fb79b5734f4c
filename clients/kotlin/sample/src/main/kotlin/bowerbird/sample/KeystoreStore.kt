package bowerbird.sample

import android.content.Context
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import android.util.Base64
import bowerbird.client.DeviceStore
import bowerbird.client.DeviceStoreException
import java.security.GeneralSecurityException
import java.security.KeyStore
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/** Secrets in the app's preferences, each encrypted with a key that never leaves Android's Keystore. */
class KeystoreStore(context: Context) : DeviceStore {
    private val entries = context.getSharedPreferences("bowerbird", Context.MODE_PRIVATE)

    override fun load(name: String): String? {
        val kept = entries.getString(name, null) ?: return null
        return guarded {
            val bytes = Base64.decode(kept, Base64.NO_WRAP)
            val cipher = Cipher.getInstance(TRANSFORMATION)
            cipher.init(Cipher.DECRYPT_MODE, key(), GCMParameterSpec(TAG_BITS, bytes, 0, NONCE_BYTES))
            cipher.updateAAD(name.toByteArray())
            String(cipher.doFinal(bytes, NONCE_BYTES, bytes.size - NONCE_BYTES))
        }
    }

    override fun save(name: String, secret: String) = guarded {
        val cipher = Cipher.getInstance(TRANSFORMATION)
        cipher.init(Cipher.ENCRYPT_MODE, key())
        cipher.updateAAD(name.toByteArray())
        val bytes = cipher.iv + cipher.doFinal(secret.toByteArray())
        written(entries.edit().putString(name, Base64.encodeToString(bytes, Base64.NO_WRAP)).commit())
    }

    override fun delete(name: String) = written(entries.edit().remove(name).commit())

    /** `commit`, not `apply`: what `save` has returned from must be there after the app was stopped. */
    private fun written(done: Boolean) {
        if (!done) throw DeviceStoreException.Unavailable("the preferences cannot be written")
    }

    private fun <T> guarded(work: () -> T): T =
        try {
            work()
        } catch (error: GeneralSecurityException) {
            throw DeviceStoreException.Unavailable("the Keystore refused: ${error.javaClass.simpleName}")
        }

    private fun key(): SecretKey {
        val keystore = KeyStore.getInstance(KEYSTORE).apply { load(null) }
        (keystore.getKey(ALIAS, null) as? SecretKey)?.let { return it }
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val parameters = KeyGenParameterSpec.Builder(ALIAS, purposes)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(256)
            .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, KEYSTORE).apply { init(parameters) }.generateKey()
    }

    private companion object {
        const val KEYSTORE = "AndroidKeyStore"
        const val ALIAS = "bowerbird"
        const val TRANSFORMATION = "AES/GCM/NoPadding"
        const val NONCE_BYTES = 12
        const val TAG_BITS = 128
    }
}
